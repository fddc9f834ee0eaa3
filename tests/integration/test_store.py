"""The store: other readers see the same bytes, nobody loses a voxel, nothing is taken for finished that is not."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from numpy.typing import NDArray
from ome_zarr_models.v05 import Image

import tim3d
from tim3d.errors import InputError, MissingFieldError, MixedRunError, SchemaError
from tim3d.grid import Box, Triple
from tim3d.kernels.image.pyramid import level_factors
from tim3d.maintenance import commands
from tim3d.storage import documents, schema, shards, store
from tim3d.storage.folder import Folder
from tim3d.storage.schema import Field

QUIET = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1, filler=7)
SIZE = {"z": 20.0, "y": 5.0, "x": 5.0}
SHAPE: Triple = (13, 141, 75)


def grey(shape: Triple = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def labels(shape: Triple = SHAPE) -> NDArray[np.uint8]:
    return np.array(PHASES.codes, np.uint8)[np.random.default_rng(4).integers(0, 3, shape)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sample with both kinds of fields and results, of odd shape, several shards and levels."""
    folder = tmp_path_factory.mktemp("store")
    url = str(folder / "a.zarr")
    np.save(folder / "raw.npy", grey())
    np.save(folder / "phase.npy", labels())
    shard = (8, 64, 64)
    tim3d.ingest(folder / "raw.npy", url, voxel_size=SIZE, shard=shard, options=QUIET)
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=SIZE,
        shard=shard,
        field="phase",
        phases=PHASES,
        options=QUIET,
    )
    tim3d.measure(url, ["phase_fraction"], options=QUIET)
    return url


def brute_level(fine: NDArray[Any], factor: Triple, *, picked: bool) -> NDArray[Any]:
    """Every coarse voxel on its own, from the finer level."""
    shape = tuple(-(-n // f) for n, f in zip(fine.shape, factor, strict=True))
    out = np.empty(shape, fine.dtype)
    for place in np.ndindex(shape):
        cell = fine[tuple(slice(i * f, i * f + f) for i, f in zip(place, factor, strict=True))]
        out[place] = cell.flat[0] if picked else np.floor(cell.mean(dtype=np.float64) + 0.5)
    return out


@pytest.mark.parametrize("name", ["raw", "phase"])
def test_xarray_opens_every_level_with_centres_in_nm(sample: str, name: str) -> None:
    factors = level_factors(SHAPE, (20.0, 5.0, 5.0))
    assert factors == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    for level, factor in enumerate(factors):
        opened = xr.open_zarr(sample, group=f"{name}/s{level}", consolidated=False, chunks=None)[
            name
        ]
        assert opened.dims == ("z", "y", "x")
        for axis, step, edge in zip("zyx", factor, (20.0, 5.0, 5.0), strict=True):
            first = edge / 2 if name == "phase" else edge * step / 2
            expected = first + edge * step * np.arange(opened.sizes[axis])
            np.testing.assert_array_equal(opened[axis].values, expected)
            assert opened[axis].attrs["units"] == "nm"


def test_xarray_opens_the_whole_sample_as_a_tree(sample: str) -> None:
    with xr.open_datatree(sample, engine="zarr", consolidated=False) as tree:
        np.testing.assert_array_equal(tree["raw/s0/raw"].values, grey())
        assert tree["phase_descriptors/phase_fraction"].sizes == {"phase": 3}
        assert not tree.to_dataset().coords


@pytest.mark.long
@pytest.mark.parametrize("name", ["raw", "phase"])
def test_tensorstore_reads_the_same_voxels_on_every_level(sample: str, name: str) -> None:
    fine, steps = {"raw": grey(), "phase": labels()}[name], [(1, 1, 1), (1, 2, 2), (1, 2, 2)]
    for level, step in enumerate(steps):
        fine = brute_level(fine, step, picked=name == "phase")
        kvstore = {"driver": "file", "path": f"{sample}/{name}/s{level}/{name}/"}
        opened = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()
        assert opened.domain.labels == ("z", "y", "x")
        np.testing.assert_array_equal(opened.read().result(), fine)


@pytest.mark.parametrize("name", ["raw", "phase", "phase_descriptors", "nothing"])
def test_attributes_are_read_without_zarr_as_zarr_reads_them(sample: str, name: str) -> None:
    node = store.open_sample(sample).get(name)
    assert documents.attributes(sample, name) == ({} if node is None else dict(node.attrs))


@pytest.mark.parametrize("name", ["", "..", "phase/s0", "../a.zarr/phase"])
def test_only_nodes_are_read_without_zarr(sample: str, name: str) -> None:
    assert documents.attributes(sample, name) is None


@pytest.mark.parametrize("place", ["zarr.json", "phase/zarr.json"])
@pytest.mark.parametrize(
    ("whole", "damaged"),
    [(b"{", b""), (b'"group"', b'"array"'), (b"schema", b"schemb"), (b'"zarr_format": 3', b"")],
)
def test_what_is_not_as_written_is_left_to_zarr(
    sample: str, tmp_path: Path, place: str, whole: bytes, damaged: bytes
) -> None:
    copy = shutil.copytree(sample, tmp_path / "a.zarr")
    text = (copy / place).read_bytes()
    assert whole in text
    (copy / place).write_bytes(text.replace(whole, damaged, 1))
    assert documents.attributes(str(copy), "phase") is None


@pytest.mark.parametrize("name", ["raw", "phase"])
def test_an_independent_validator_accepts_the_image(sample: str, name: str) -> None:
    image = Image.from_zarr(zarr.open_group(f"{sample}/{name}", mode="r"))
    (scales,) = image.ome_attributes.multiscales
    assert [axis.unit for axis in scales.axes] == ["nanometer"] * 3
    found = [[t.model_dump() for t in d.coordinateTransformations] for d in scales.datasets]
    assert found[1][0]["scale"] == (20.0, 10.0, 10.0) or found[1][0]["scale"] == [20.0, 10.0, 10.0]
    for level, (_, shift) in enumerate(found):
        opened = store.open_field(sample, name, level)
        assert list(shift["translation"]) == [float(opened[a][0]) for a in "zyx"]


def test_labels_carry_cf_flags_and_are_opened_with_their_phases(sample: str) -> None:
    attributes = tim3d.open_field(sample, "phase").attrs
    assert attributes["flag_values"] == [0, 1, 7]
    assert attributes["flag_meanings"] == "pore solid filler"
    assert store.read_field(sample, "phase").phases == PHASES


def test_a_field_opens_in_chunks_of_whole_shards(sample: str) -> None:
    assert tim3d.open_field(sample, "raw").chunks == ((8, 5), (64, 64, 13), (64, 11))


def test_every_node_says_how_it_was_made(sample: str) -> None:
    assert store.nodes(sample) == [
        "phase",
        "phase_descriptors",
        "phase_partials",
        "raw",
        "raw_inspection",
        "raw_slices",
    ]
    for name in store.nodes(sample):
        record = store.node_attributes(sample, name)
        assert record["status"] == "complete"
        assert record["version"] == tim3d.__version__
        assert len(record["fingerprint"]) == 64
        assert {"inputs", "parameters", "created", "schema", "kind"} <= set(record)
    made_from = store.node_attributes(sample, "phase_descriptors")["inputs"]
    assert made_from == {"phase": store.node_attributes(sample, "phase")["fingerprint"]}


def test_a_good_sample_has_no_fault(sample: str) -> None:
    assert tim3d.validate(sample, deep=True) == []


def test_irregular_coordinates_are_refused_with_the_cure(sample: str, tmp_path: Path) -> None:
    copy = shutil.copytree(sample, tmp_path / "bent.zarr")
    zarr.open_array(str(copy / "raw/s0/z"), mode="r+")[3] = 77.0
    with pytest.raises(SchemaError, match=r"steps along z run from .* Ingest the slices again"):
        store.read_field(str(copy), "raw")
    (fault,) = tim3d.validate(str(copy))
    assert "steps along z" in str(fault)


def new_field(url: str, shape: Triple = (4, 8, 8)) -> zarr.Array[Any]:
    store.create_sample(url)
    field = Field("raw", shape, "uint8", (1.0, 1.0, 1.0), (4, 4, 4), (4, 8, 8))
    store.create_field(url, field, store.provenance("0" * 64, {}, {}))
    return store.field_array(url, "raw", mode="r+")


def test_a_part_of_a_shard_is_not_written(tmp_path: Path) -> None:
    array = new_field(str(tmp_path / "a.zarr"))
    for box in (Box((0, 0, 0), (4, 8, 4)), Box((0, 4, 0), (4, 8, 8)), Box((1, 0, 0), (4, 8, 8))):
        with pytest.raises(ValueError, match="not made of whole shards"):
            store.write_box(array, box, np.ones(box.shape, np.uint8))
    assert not shards.has_shard(array, Box.whole((4, 8, 8)))


def test_two_writers_of_one_shard_would_lose_voxels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: plain zarr, two threads, each half of one shard; this is why `write_box` refuses parts."""
    array = new_field(str(tmp_path / "a.zarr"))
    store.write_box(array, Box.whole((4, 8, 8)), np.zeros((4, 8, 8), np.uint8))
    both_have_read, read = threading.Barrier(2, timeout=60), Folder.get

    async def get(self: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        found = await read(self, key, *args, **kwargs)
        if "/c/" in key:
            import asyncio

            await asyncio.to_thread(both_have_read.wait)
        return found

    monkeypatch.setattr(Folder, "get", get)

    def write(half: slice) -> None:
        array[:, :, half] = 1

    writers = [threading.Thread(target=write, args=(half,)) for half in (slice(0, 4), slice(4, 8))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    monkeypatch.undo()
    assert np.count_nonzero(array[:]) == array.size // 2


def test_a_torn_shard_does_not_block_the_next_write(tmp_path: Path) -> None:
    array = new_field(str(tmp_path / "a.zarr"))
    values = np.full((4, 8, 8), 3, np.uint8)
    store.write_box(array, Box.whole((4, 8, 8)), values)
    shard = tmp_path / "a.zarr/raw/s0/raw/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:7])
    store.write_box(array, Box.whole((4, 8, 8)), values)
    np.testing.assert_array_equal(array[:], values)


def test_a_shard_is_never_away_while_another_writer_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its block may be marked done by now: a second run, or a block that outlived its run, must not lose it."""
    array = new_field(str(tmp_path / "a.zarr"))
    store.write_box(array, Box.whole((4, 8, 8)), np.full((4, 8, 8), 3, np.uint8))
    before = (tmp_path / "a.zarr/raw/s0/raw/c/0/0/0").read_bytes()

    async def die(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(Folder, "set", die)
    with pytest.raises(RuntimeError, match="killed"):
        store.write_box(array, Box.whole((4, 8, 8)), np.full((4, 8, 8), 5, np.uint8))
    assert (tmp_path / "a.zarr/raw/s0/raw/c/0/0/0").read_bytes() == before


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    url = str(tmp_path / "a.zarr")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr/zarr.json.0123.partial").touch()
    array = new_field(url)
    (tmp_path / "a.zarr/raw/zarr.json.0123.partial").touch()
    shard = tmp_path / "a.zarr/raw/s0/raw/c/0/0/0"
    shard.parent.mkdir(parents=True)
    shard.with_name("0.0123.partial").touch()
    store.write_box(array, Box.whole((4, 8, 8)), np.ones((4, 8, 8), np.uint8))
    store.update_node(url, "raw", status="complete")
    assert not list(tmp_path.rglob("*.partial"))
    assert tim3d.validate(url, deep=True) == []


@pytest.mark.parametrize("durable", [False, True])
def test_a_shard_of_the_fill_value_is_stored_too(tmp_path: Path, durable: bool) -> None:
    array = new_field(str(tmp_path / "a.zarr"))
    box = Box.whole((4, 8, 8))
    assert not shards.has_shard(array, box)
    store.write_box(array, box, np.zeros(box.shape, np.uint8), durable=durable)
    assert shards.has_shard(array, box)


def test_names_in_results_are_strings_without_a_warning(tmp_path: Path) -> None:
    url = str(tmp_path / "a.zarr")
    store.create_sample(url)
    dataset = xr.Dataset(
        {"n": ("phase", [1, 2])},
        {"phase": np.array(["pore", "Füllstoff"], object)},
        {"why": "test"},
    )
    store.write_dataset(url, "numbers", dataset, store.provenance("0" * 64, {}, {}))
    opened = store.open_dataset(url, "numbers")
    assert opened.n.sel(phase="Füllstoff").item() == 2
    assert opened.attrs["why"] == "test"


@pytest.mark.long
def test_a_sample_behind_a_url_from_ingest_to_results(tmp_path: Path) -> None:
    np.save(tmp_path / "phase.npy", labels())
    url = "memory://test-store/a.zarr"
    tim3d.ingest(
        tmp_path / "phase.npy", url, voxel_size=SIZE, field="phase", phases=PHASES, options=QUIET
    )
    with tim3d.cluster("serial"):
        measured = tim3d.measure(url, ["phase_fraction"], options=QUIET)
    np.testing.assert_array_equal(tim3d.open_field(url, "phase").values, labels())
    assert float(measured.phase_fraction.sel(phase="filler")) == np.mean(labels() == 7)
    assert tim3d.validate(url, deep=True) == []
    assert "phase: 13x141x75 uint8" in "\n".join(commands.show(url))
    again = tim3d.ingest(
        tmp_path / "phase.npy", url, voxel_size=SIZE, field="phase", phases=PHASES, options=QUIET
    )
    np.testing.assert_array_equal(again.values, labels())


def ingest_labels(folder: Path, **arguments: Any) -> str:
    np.save(folder / "phase.npy", labels())
    url = str(folder / "a.zarr")
    given = {"voxel_size": SIZE, "field": "phase", "phases": PHASES, "options": QUIET} | arguments
    tim3d.ingest(folder / "phase.npy", url, **given)
    return url


@pytest.mark.long
@pytest.mark.parametrize("shard", [(8, 64, 64), (16, 64, 128)])
def test_a_deleted_sample_is_made_again_although_its_markers_are_there(
    tmp_path: Path, shard: Triple
) -> None:
    url = ingest_labels(tmp_path, shard=(8, 64, 64))
    before = tim3d.measure(url, options=QUIET).load()
    shutil.rmtree(url)
    ingest_labels(tmp_path, shard=shard)
    np.testing.assert_array_equal(tim3d.open_field(url, "phase").values, labels())
    xr.testing.assert_equal(tim3d.measure(url, options=QUIET).load(), before)
    assert tim3d.validate(url, deep=True) == []


def test_a_copy_does_not_claim_to_be_half_done(tmp_path: Path) -> None:
    url = ingest_labels(tmp_path)
    copy = str(shutil.copytree(url, tmp_path / "b.zarr"))
    assert not Path(copy + ".runs").exists()
    assert tim3d.measure(copy, ["phase_fraction"], options=QUIET).phase_fraction.sum() == 1


def test_the_debris_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    url = str(tmp_path / "a.zarr")
    store.create_sample(url)
    zarr.open_group(url, mode="r+").create_group("phase/s0").create_array(
        "phase", shape=(1,), dtype="float64"
    )
    (fault,) = tim3d.validate(url)
    assert "not a node of tim3d" in str(fault)
    ingest_labels(tmp_path)
    np.testing.assert_array_equal(tim3d.open_field(url, "phase").values, labels())


def test_a_result_outlives_its_field(sample: str) -> None:
    """A field may be deleted to make room: what was measured of it is not outdated, only what was replaced is."""
    tim3d.measure(sample, ["phase_fraction"], field="phase", options=QUIET)
    found = tim3d.open_dataset(sample, "phase_descriptors").phase_fraction.values
    store.delete_node(sample, "phase")
    again = tim3d.open_dataset(sample, "phase_descriptors").phase_fraction.values
    np.testing.assert_array_equal(found, again)


def test_an_unfinished_field_is_not_read(tmp_path: Path) -> None:
    url = ingest_labels(tmp_path)
    store.update_node(url, "phase", status="writing")
    with pytest.raises(MissingFieldError, match="not finished"):
        tim3d.measure(url, options=QUIET)
    assert "is not finished" in str(tim3d.validate(url)[0])


def test_a_field_made_otherwise_is_refused_and_replaced_on_request(tmp_path: Path) -> None:
    url = ingest_labels(tmp_path)
    with pytest.raises(MixedRunError, match="--overwrite"):
        ingest_labels(tmp_path, voxel_size={"z": 1, "y": 1, "x": 1})
    assert store.read_field(url, "phase").spacing_nm == (20.0, 5.0, 5.0)
    ingest_labels(
        tmp_path,
        voxel_size={"z": 1, "y": 1, "x": 1},
        options=tim3d.Options(progress=False, overwrite=True),
    )
    assert store.read_field(url, "phase").spacing_nm == (1.0, 1.0, 1.0)


def test_what_is_no_sample_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sample at"):
        store.open_sample(str(tmp_path / "none.zarr"))
    zarr.open_group(str(tmp_path / "foreign.zarr"), mode="w")
    with pytest.raises(SchemaError, match="not a tim3d sample"):
        store.create_sample(str(tmp_path / "foreign.zarr"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").touch()
    with pytest.raises(SchemaError, match="folder of other files"):
        store.create_sample(str(tmp_path / "notes"))
    url = str(tmp_path / "new.zarr")
    store.create_sample(url)
    path = Path(url) / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["tim3d"]["schema"] = schema.SCHEMA_VERSION + 1
    path.write_text(json.dumps(content))
    with pytest.raises(SchemaError, match=r"has schema 2.*pip install --upgrade"):
        store.open_sample(url)
    content["attributes"]["tim3d"]["schema"] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(SchemaError, match="has schema 0, this tim3d reads 1"):
        store.open_sample(url)
