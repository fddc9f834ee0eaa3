"""What is missing or was changed in a finished sample is refused by every reader, and never taken for a number."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr

import tim3d
from tests.soft import Soft
from tim3d import Options, Phases
from tim3d.cli import main
from tim3d.engine import Ledger
from tim3d.errors import InputError, StoreError, Tim3dError
from tim3d.storage import store

QUIET = Options(progress=False)
SIZE = {"z": 5, "y": 5, "x": 5}
PHASES = Phases(pore=0, solid=1)
CONDUCTS = {"pore": 0.0, "solid": 1.0}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample with grey values, labels and results: only read it."""
    folder = tmp_path_factory.mktemp("finished")
    grey = np.random.default_rng(0).choice(np.array([40, 60, 190, 210], np.uint8), (16, 32, 32))
    np.save(folder / "grey.npy", grey)
    np.save(folder / "labels.npy", (grey > 100).astype(np.uint8))
    made = folder / "s.zarr"
    tim3d.ingest(folder / "grey.npy", str(made), voxel_size=SIZE, shard=(8, 16, 16), options=QUIET)
    tim3d.segment(str(made), method="fixed", thresholds=[100], phases=PHASES, options=QUIET)
    tim3d.ingest(
        folder / "labels.npy",
        str(made),
        voxel_size=SIZE,
        shard=(8, 16, 16),
        field="truth",
        phases=PHASES,
        options=QUIET,
    )
    tim3d.measure(str(made), options=QUIET)
    tim3d.label(str(made), options=QUIET)
    return made


@pytest.fixture
def sample(finished: Path, tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "image.tif", np.load(finished.parent / "labels.npy")[0])
    return shutil.copytree(finished, tmp_path / "s.zarr")


READERS: dict[str, Callable[[str], object]] = {
    "measure": lambda s: tim3d.measure(s, options=Options(progress=False, overwrite=True)),
    "label": lambda s: tim3d.label(s, options=Options(progress=False, overwrite=True)),
    "solve": lambda s: tim3d.solve(s, conductivity=CONDUCTS, axis=["y"], options=QUIET),
    "geodesic": lambda s: tim3d.geodesic(s, phases=["solid"], directions=["+z"], options=QUIET),
    "study": lambda s: tim3d.study(
        s, quantity="phase_fraction", phase="pore", windows=[8, 16], options=QUIET
    ),
    "evaluate": lambda s: tim3d.evaluate(s, options=QUIET),
    "fidelity": lambda s: tim3d.fidelity(
        s, micrograph=f"{s}/../image.tif", pixel_size=5, phases=PHASES, options=QUIET
    ),
    "open_field": lambda s: tim3d.open_field(s, "phase").values,
    "a part of open_field": lambda s: tim3d.open_field(s, "phase")[:2, :2, :2].values,
}


@pytest.mark.parametrize("verb", READERS)
def test_a_shard_that_is_missing_is_refused_in_one_line_with_the_cure(
    verb: str, sample: Path
) -> None:
    (sample / "phase/s0/phase/c/0/0/0").unlink()
    with pytest.raises(StoreError, match="missing") as refused:
        READERS[verb](str(sample))
    line = str(refused.value)
    assert "shard (0, 0, 0) of 'phase'" in line
    assert "\n" not in line
    assert f"tim3d validate {sample} --deep --repair" in line


def test_a_missing_shard_of_grey_values_is_not_segmented(sample: Path) -> None:
    (sample / "raw/s0/raw/c/1/1/0").unlink()
    with pytest.raises(StoreError, match=r"shard \(1, 1, 0\) of 'raw' is missing"):
        tim3d.segment(str(sample), method="otsu", phases=PHASES, out="otsu", options=QUIET)


def test_a_missing_shard_of_a_coarse_level_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", np.full((8, 300, 300), 7, np.uint8))
    made = str(tmp_path / "s.zarr")
    tim3d.ingest(tmp_path / "g.npy", made, voxel_size=SIZE, accept=["blank"], options=QUIET)
    next(p for p in Path(made, "raw/s1/raw/c").rglob("*") if p.is_file()).unlink()
    with pytest.raises(StoreError, match="of 'raw' is missing"):
        tim3d.open_field(made, "raw", level=1).load()
    assert int(tim3d.open_field(made, "raw").max()) == 7
    (fault,) = tim3d.validate(made, deep=True)
    assert fault.where.startswith("raw/s1 block")


def test_a_missing_part_of_a_result_is_refused(sample: Path) -> None:
    next(
        p for p in (sample / "phase_descriptors/phase_fraction/c").rglob("*") if p.is_file()
    ).unlink()
    with pytest.raises(StoreError, match="'phase_fraction' is missing"):
        tim3d.open_dataset(str(sample), "phase_descriptors").load()


def test_the_shell_says_it_in_one_line(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sample / "phase/s0/phase/c/0/0/0").unlink()
    assert main.main(["measure", str(sample), "--overwrite", "--quiet"]) == 4
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "is missing" in said[0]


# ------------------------------------------------------------------ metadata


def _leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of all numbers, words and truths in a JSON value."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*at, key))
    else:
        yield at


def _other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    swapped = " ".join(reversed(value.split(" "))) if isinstance(value, str) else ""
    return swapped if swapped != value else f"{value[:-1]}{'a' if value[-1:] != 'a' else 'b'}"


def _with(document: Any, place: tuple[Any, ...]) -> Any:
    made = copy.deepcopy(document)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = _other(inner[place[-1]])
    return made


def _answer(sample: Path, node: str) -> Any:
    """Everything that is read of a node."""
    record = tim3d.storage.store.node_attributes(str(sample), node)
    if record.get("kind") != "field":
        return tim3d.open_dataset(str(sample), node).load()
    return [
        tim3d.storage.store.complete_field(str(sample), node),
        tim3d.open_field(str(sample), node).load(),
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, xr.Dataset | xr.DataArray):
        return bool(one.drop_attrs(deep=False).identical(other.drop_attrs(deep=False)))
    if isinstance(one, list):
        return all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


ALL = ["raw", "raw_slices", "phase", "truth", "phase_partials", "phase_descriptors"]
MARKS = {"phase": [], "phase_descriptors": [pytest.mark.long]}


@pytest.mark.parametrize(
    "node", [pytest.param(n, marks=MARKS.get(n, [pytest.mark.slow])) for n in ALL]
)
def test_every_value_of_every_description_is_guarded(node: str, sample: Path) -> None:
    """Changed alone, each is refused: also when and by which command a node was made."""
    harmless, count, before = set(), 0, _answer(sample, node)
    for path in sorted((sample / node).rglob("zarr.json")):
        text = path.read_text()
        for place in _leaves(json.loads(text)):
            path.write_text(json.dumps(_with(json.loads(text), place)))
            count += 1
            try:
                assert _same(_answer(sample, node), before), (path, place)
                harmless.add(place[-1])
            except (Tim3dError, ValueError, TypeError, LookupError):
                continue
        path.write_text(text)
    assert count > 100
    assert harmless == set()


CHANGES = {
    "codes": (
        "phase/s0/phase",
        "flag_values",
        lambda a: a["attributes"].update(flag_values=[1, 0]),
    ),
    "names": (
        "phase/s0/phase",
        "flag_meanings",
        lambda a: a["attributes"].update(flag_meanings="solid pore"),
    ),
    "unit": (
        "phase_descriptors/specific_surface",
        "units",
        lambda a: a["attributes"].update(units="1/um"),
    ),
    "length": ("phase/s0/z", "units", lambda a: a["attributes"].update(units="um")),
    "type": ("phase/s0/phase", "data_type", lambda a: a.update(data_type="int8")),
    "fill": ("phase/s0/phase", "fill_value", lambda a: a.update(fill_value=1)),
    "state": ("phase", "status", lambda a: a["attributes"]["tim3d"].update(status="writing")),
    "inputs": ("phase", "inputs", lambda a: a["attributes"]["tim3d"].update(inputs={})),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_description_is_found_by_validate_and_refused_by_a_verb(
    name: str, sample: Path
) -> None:
    node, _, change = CHANGES[name]
    path = sample / node / "zarr.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    (fault,) = tim3d.validate(str(sample))
    assert fault.where == f"{node}/zarr.json"
    with pytest.raises(StoreError, match=f"{node}/zarr.json is damaged"):
        _answer(sample, node.partition("/")[0])


def test_what_is_damaged_is_made_again_with_overwrite(sample: Path) -> None:
    truth = tim3d.open_field(str(sample), "phase").load()
    path = sample / "phase/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["tim3d"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(document))
    again = Options(progress=False, overwrite=True)
    tim3d.segment(str(sample), method="fixed", thresholds=[100], phases=PHASES, options=again)
    assert tim3d.open_field(str(sample), "phase").load().equals(truth)
    assert tim3d.validate(str(sample), deep=True) == []


def test_a_description_that_is_missing_is_refused(sample: Path) -> None:
    (sample / "phase_descriptors/phase_fraction/zarr.json").unlink()
    with pytest.raises(StoreError, match=r"phase_fraction/zarr\.json is missing"):
        tim3d.open_dataset(str(sample), "phase_descriptors")
    assert tim3d.validate(str(sample))


def test_coordinates_of_another_field_are_refused(finished: Path, tmp_path: Path) -> None:
    """Their bytes are whole, and their metadata too."""
    other = str(tmp_path / "other.zarr")
    tim3d.ingest(
        finished.parent / "grey.npy",
        other,
        voxel_size={"z": 7, "y": 5, "x": 5},
        shard=(8, 16, 16),
        options=QUIET,
    )
    shutil.copy(finished / "raw/s0/z/c/0", Path(other, "raw/s0/z/c/0"))
    with pytest.raises(
        Tim3dError, match=r"z begins at 2\.5 nm, and its OME-Zarr attributes say 3\.5 nm"
    ):
        tim3d.segment(other, method="otsu", phases=PHASES, options=QUIET)


# ------------------------------------------------------------------ resuming


@pytest.mark.parametrize("place", ["0/0/0", "1/1/1"])
def test_a_marked_block_whose_shard_is_gone_is_done_again(
    place: str, sample: Path, finished: Path
) -> None:
    blocks = Options(progress=False, block=(8, 16, 16), overwrite=True)
    tim3d.segment(str(sample), method="fixed", thresholds=[100], phases=PHASES, options=blocks)
    tim3d.storage.store.update_node(str(sample), "phase", status="writing")
    (sample / "phase/s0/phase/c" / place).unlink()
    resumed = Options(progress=False, block=(8, 16, 16))
    tim3d.segment(str(sample), method="fixed", thresholds=[100], phases=PHASES, options=resumed)
    kept = tim3d.open_field(str(finished), "phase").load()
    np.testing.assert_array_equal(tim3d.open_field(str(sample), "phase").values, kept.values)


@pytest.mark.parametrize(
    "lost", ["phase", "phase_entropy", "phase_probability_pore", "phase_probability_solid"]
)
def test_a_marked_block_is_done_again_whichever_of_its_fields_lost_a_shard(
    lost: str, sample: Path
) -> None:
    """A pass that writes several fields has one marker for all of them."""
    how: dict[str, Any] = {"segmenter": Soft(), "uncertainty": "views", "phases": PHASES}
    blocks = {"progress": False, "block": (8, 16, 16)}
    tim3d.segment(str(sample), **how, options=Options(**blocks, overwrite=True))
    made = [one for one in store.fields(str(sample)) if one.startswith("phase")]
    before = {one: tim3d.open_field(str(sample), one).values for one in made}
    assert lost in made
    store.update_node(str(sample), "phase", status="writing")
    (sample / lost / "s0" / lost / "c/1/0/1").unlink()
    tim3d.segment(str(sample), **how, options=Options(**blocks))
    for one, values in before.items():
        np.testing.assert_array_equal(tim3d.open_field(str(sample), one).values, values)


def test_a_thin_last_block_whose_shard_is_gone_is_done_again(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (11, 20, 18), np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    thin = str(tmp_path / "thin.zarr")
    tim3d.ingest(tmp_path / "grey.npy", thin, voxel_size=SIZE, shard=(8, 16, 16), options=QUIET)
    how = {"method": "fixed", "thresholds": [100], "phases": PHASES}
    tim3d.segment(thin, **how, options=QUIET)
    tim3d.storage.store.update_node(thin, "phase", status="writing")
    Path(thin, "phase/s0/phase/c/1/1/1").unlink()
    found = tim3d.segment(thin, **how, options=QUIET)
    np.testing.assert_array_equal(found.values, np.where(grey <= 100, 0, 1))


def test_resuming_looks_for_shards_with_one_listing_and_keeps_whole_blocks(sample: Path) -> None:
    done: list[Any] = []
    blocks = Options(progress=False, block=(8, 16, 16), overwrite=True)
    tim3d.segment(str(sample), method="fixed", thresholds=[100], phases=PHASES, options=blocks)
    tim3d.storage.store.update_node(str(sample), "phase", status="writing")
    (sample / "phase/s0/phase/c/1/0/1").unlink()
    with pytest.MonkeyPatch.context() as patch:
        mark = Ledger.mark_done

        def counting(self: Ledger, index: Any, *args: Any, **kwargs: Any) -> bytes:
            done.append(index)
            return mark(self, index, *args, **kwargs)

        patch.setattr(Ledger, "mark_done", counting)
        resumed = Options(progress=False, block=(8, 16, 16))
        tim3d.segment(str(sample), method="fixed", thresholds=[100], phases=PHASES, options=resumed)
    assert done == [(1, 0, 1)]


# ------------------------------------------------------------------ one grid


@pytest.mark.parametrize(
    ("shape", "size"),
    [((15, 32, 32), SIZE), ((16, 32, 31), SIZE), ((16, 32, 32), {"z": 5, "y": 5, "x": 5.1})],
)
def test_a_field_on_another_grid_is_refused_before_anything_is_written(
    shape: tuple[int, ...], size: dict[str, float], sample: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "other.npy", np.zeros(shape, np.uint8))
    before = sorted(sample.rglob("*"))
    with pytest.raises(InputError, match=r"fields of one sample lie on one grid.*--other-grid"):
        tim3d.ingest(
            tmp_path / "other.npy",
            str(sample),
            voxel_size=size,
            field="mask",
            phases=PHASES,
            options=QUIET,
        )
    assert sorted(sample.rglob("*")) == before


def test_another_grid_that_is_meant_is_named_and_its_own_fields_follow_it(
    sample: Path, tmp_path: Path
) -> None:
    np.save(
        tmp_path / "fine.npy",
        np.random.default_rng(1).integers(0, 255, (8, 16, 16), dtype=np.uint8),
    )
    fine = {"z": 10, "y": 10, "x": 10}
    tim3d.ingest(
        tmp_path / "fine.npy",
        str(sample),
        voxel_size=fine,
        field="coarse",
        other_grid=True,
        options=QUIET,
    )
    assert tim3d.storage.store.node_attributes(str(sample), "coarse")["other_grid"] is True
    tim3d.segment(
        str(sample), field="coarse", method="otsu", phases=PHASES, out="coarse_phase", options=QUIET
    )
    assert tim3d.open_field(str(sample), "coarse_phase").shape == (8, 16, 16)


def test_a_field_that_is_out_of_date_does_not_hold_the_grid(tmp_path: Path) -> None:
    made = str(tmp_path / "s.zarr")
    for count, overwrite in ((16, False), (12, True)):
        np.save(
            tmp_path / "g.npy",
            np.random.default_rng(1).integers(0, 255, (count, 16, 16), dtype=np.uint8),
        )
        again = Options(progress=False, overwrite=overwrite)
        tim3d.ingest(tmp_path / "g.npy", made, voxel_size=SIZE, options=again)
        tim3d.segment(made, method="otsu", phases=PHASES, options=again)
    assert tim3d.open_field(made, "phase").shape == (12, 16, 16)


def test_counts_that_do_not_add_up_to_the_voxels_are_found(tmp_path: Path) -> None:
    labels = (np.random.default_rng(0).random((9, 16, 16)) < 0.3).astype(np.uint8)
    np.save(tmp_path / "labels.npy", labels)
    url, quiet = str(tmp_path / "sums.zarr"), tim3d.Options(progress=False)
    size, phases = {"z": 2.0, "y": 1.0, "x": 1.0}, tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        tmp_path / "labels.npy", url, voxel_size=size, field="phase", phases=phases, options=quiet
    )
    tim3d.measure(url, options=quiet)
    assert tim3d.validate(url, deep=True) == []
    partials, record = (
        store.open_dataset(url, "phase_partials"),
        store.node_attributes(url, "phase_partials"),
    )
    planes = partials["phase_planes_y"].values.reshape(-1, 2)  # by phase
    # One voxel too many; then the right number of voxels, of which one has another phase.
    for phase, change in ((0, 1), (1, -1)):
        planes[0, phase] += change
        store.write_dataset(url, "phase_partials", partials, record)
        (fault,) = tim3d.validate(url, deep=True)
        assert fault.where == "phase_partials/phase_planes_y"
        assert "--overwrite" in fault.cure
