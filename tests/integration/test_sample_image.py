"""The sample itself as an OME-Zarr image, read by libraries that know nothing of tim3d."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import tim3d
from tim3d.colours import colours
from tim3d.errors import ArgumentError
from tim3d.maintenance.repair import repair
from tim3d.storage import sample_image, store
from tim3d.storage.schema import fingerprint

SHAPE, VOXEL = (12, 150, 90), {"z": 20.0, "y": 5.0, "x": 5.0}
TWO = tim3d.Phases(pore=0, copper=3)
QUIET = tim3d.Options(progress=False)


def grey() -> Any:
    return np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def ingest(folder: Path, name: str, values: Any, **more: Any) -> str:
    np.save(folder / f"{name}.npy", values)
    phases = None if name in ("raw", "second") else TWO
    url = str(folder / "a.zarr")
    tim3d.ingest(
        folder / f"{name}.npy", url, voxel_size=more.pop("voxel", VOXEL), field=name, phases=phases,
        options=QUIET if not more.pop("overwrite", False) else tim3d.Options(progress=False, overwrite=True),
        **more,
    )  # fmt: skip
    return url


def labels() -> Any:
    return np.where(grey() > 128, 3, 0).astype(np.uint8)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    ingest(tmp_path, "raw", grey())
    return ingest(tmp_path, "phase", labels())


def ome(url: str, path: str = "") -> Any:
    return dict(zarr.open_group(f"{url}/{path}", mode="r").attrs)["ome"]


def test_the_root_is_valid_ome_zarr(sample: str) -> None:
    models = pytest.importorskip("ome_zarr_models.v05")
    root = zarr.open_group(sample, mode="r")
    # `Image.from_zarr` of that library knows no levels of labels in groups of their own.
    (multiscale,) = models.image.ImageAttrs.model_validate(ome(sample)).multiscales
    assert [(a.name, a.type, a.unit) for a in multiscale.axes] == [
        (axis, "space", "nanometer") for axis in "zyx"
    ]
    finest, half = (one.coordinateTransformations for one in multiscale.datasets[:2])
    assert (finest[0].scale, finest[1].translation) == ([20.0, 5.0, 5.0], [10.0, 2.5, 2.5])
    assert (half[0].scale, half[1].translation) == ([20.0, 10.0, 10.0], [10.0, 5.0, 5.0])
    listed = models.labels.LabelsAttrs.model_validate(ome(sample, "labels"))
    assert listed.labels == ["phase"]
    label = models.ImageLabel.from_zarr(root["labels/phase"]).attributes.ome
    assert len(label.multiscales[0].datasets) == len(multiscale.datasets)


@pytest.mark.parametrize("names", [("raw", "first", "second"), ("phase", "first", "truth")])
def test_the_image_is_the_field_of_the_usual_name_also_where_others_come_before_it(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    usual, *others = names
    phases = TWO if usual == "phase" else None
    np.save(tmp_path / "v.npy", labels())
    for name in (*others[:1], usual, *others[1:]):
        tim3d.ingest(
            tmp_path / "v.npy", str(tmp_path / "a.zarr"), voxel_size=VOXEL, field=name, phases=phases,
            options=QUIET,
        )  # fmt: skip
        (multiscale,) = ome(str(tmp_path / "a.zarr"))["multiscales"]
    assert multiscale["name"] == usual


def test_the_image_alone_is_valid_with_its_arrays(tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models.v05")
    url = ingest(tmp_path, "raw", grey())
    models.Image.from_zarr(zarr.open_group(url, mode="r"))


def test_xarray_opens_the_whole_sample_as_a_tree(sample: str) -> None:
    tree = xr.open_datatree(sample, engine="zarr", consolidated=False)
    np.testing.assert_array_equal(tree["labels/phase/s0"]["phase"].values, labels())


def test_an_independent_library_reads_the_voxels_where_the_root_says(sample: str) -> None:
    ts = pytest.importorskip("tensorstore")
    for path, values in (("", grey()), ("labels/phase", labels())):
        (multiscale,) = ome(sample, path)["multiscales"]
        place = str(Path(sample, path, multiscale["datasets"][0]["path"]))
        kvstore = {"driver": "file", "path": place}
        opened = ts.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()
        np.testing.assert_array_equal(opened.read().result(), values)


def test_labels_have_the_colours_of_the_figures_and_the_names_of_the_phases(sample: str) -> None:
    told = ome(sample, "labels/phase")["image-label"]
    shade = colours(TWO)["copper"]
    assert {"label-value": 3, "rgba": [*bytes.fromhex(shade[1:]), 255]} in told["colors"]
    assert told["properties"] == [
        {"label-value": 0, "phase": "pore"},
        {"label-value": 3, "phase": "copper"},
    ]
    image = Path(sample, "labels/phase", told["source"]["image"]).resolve()
    assert image == Path(sample).resolve()


def test_the_root_follows_the_fields(sample: str, tmp_path: Path) -> None:
    tim3d.label(sample, keep=True, options=QUIET)
    assert ome(sample, "labels")["labels"] == ["component", "phase"]
    assert "colors" not in ome(sample, "labels/component")["image-label"]
    other = 3 - labels()
    ingest(tmp_path, "phase", other, overwrite=True)
    np.testing.assert_array_equal(
        zarr.open_array(f"{sample}/labels/phase/s0/phase", mode="r")[:], other
    )
    assert tim3d.validate(sample) != []  # the components are those of the labels that were replaced
    assert "labels" not in store.nodes(sample)


def test_labels_lie_on_the_image(tmp_path: Path) -> None:
    """The image is the grey field on whose grid most labels lie; labels of another grid are not listed."""
    url = ingest(tmp_path, "raw", grey())
    ingest(tmp_path, "second", grey()[:, :60], other_grid=True)
    assert ome(url)["multiscales"][0]["name"] == "raw"
    ingest(tmp_path, "phase", labels()[:, :60])
    assert ome(url)["multiscales"][0]["name"] == "second"
    ingest(tmp_path, "annotation", labels())
    assert ome(url)["multiscales"][0]["name"] == "raw"
    assert ome(url, "labels")["labels"] == ["annotation"]


def test_labels_alone_are_an_image_too(tmp_path: Path) -> None:
    url = ingest(tmp_path, "phase", labels())
    assert ome(url)["multiscales"][0]["datasets"][0]["path"] == "phase/s0/phase"
    assert ome(url, "labels")["labels"] == ["phase"]


def test_labels_take_no_room_twice(sample: str) -> None:
    for path in Path(sample, "phase/s0/phase").rglob("*"):
        if path.is_file():
            assert path.samefile(Path(sample, "labels", path.relative_to(sample)))


def test_labels_of_a_bucket_are_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "phase.npy", labels())
    url = "memory://sample_image.zarr"
    tim3d.ingest(
        tmp_path / "phase.npy", url, voxel_size=VOXEL, field="phase", phases=TWO, options=QUIET
    )
    copy = zarr.open_array(f"{url}/labels/phase/s0/phase", mode="r")
    np.testing.assert_array_equal(copy[:], labels())
    assert tim3d.validate(url) == []


def test_a_sample_without_it_is_read_and_repaired(sample: str) -> None:
    before = zarr.open_group(sample, mode="r").attrs.asdict()
    told = sample_image.found(sample)
    sample_image.show(sample, without=["raw", "phase"])
    assert set(zarr.open_group(sample, mode="r").attrs) == {"tim3d"}
    assert not Path(sample, "labels").exists()
    assert tim3d.validate(sample) == []
    np.testing.assert_array_equal(tim3d.open_field(sample, "phase").values, labels())
    assert repair(sample) == ([], [])
    assert zarr.open_group(sample, mode="r").attrs.asdict() == before
    assert sample_image.found(sample) == told


def test_what_viewers_would_read_wrongly_is_a_fault(sample: str) -> None:
    place = Path(sample, "zarr.json")
    place.write_text(place.read_text().replace("nanometer", "micrometer"))
    (fault,) = tim3d.validate(sample)
    assert str(fault).endswith(f"Type: tim3d validate {sample} --repair")
    assert repair(sample) == ([], [])
    assert tim3d.validate(sample) == []


def test_a_copy_for_viewers_that_was_damaged_is_found_and_made_again(sample: str) -> None:
    """A copied sample has no links: its labels are files of their own."""
    shard = Path(sample, "labels/phase/s0/phase/c/0/0/0")
    whole = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(whole[:-9] + b"damaged!!")
    (fault,) = tim3d.validate(sample, deep=True)
    assert str(fault).startswith("labels/phase: is not a copy of the field")
    assert repair(sample) == ([], [])
    assert shard.read_bytes() == whole
    assert tim3d.validate(sample, deep=True) == []


def test_a_killed_run_leaves_a_root_that_the_next_one_completes(sample: str) -> None:
    """Killed between the image and the mark of completion: the same command finds its way."""
    whole = {p: p.read_bytes() for p in Path(sample, "labels").rglob("*") if p.is_file()}
    store.update_node(sample, "phase", status="writing")
    (Path(sample, "labels/phase/s0/phase/c/0/0/0")).unlink()
    (Path(sample, "labels/phase/zarr.json")).unlink()
    ingest(Path(sample).parent, "phase", labels())
    assert {p: p.read_bytes() for p in Path(sample, "labels").rglob("*") if p.is_file()} == whole
    assert tim3d.validate(sample) == []


def test_no_node_takes_the_place_of_the_labels(sample: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be called 'labels'"):
        ingest(tmp_path, "labels", labels())
    with pytest.raises(ArgumentError, match="cannot be called 'labels'"):
        tim3d.label(sample, out="labels", options=QUIET)


@pytest.mark.parametrize("name", ["z", "y", "x", "source", "weights"])
def test_a_field_has_no_name_that_means_something_else(tmp_path: Path, name: str) -> None:
    """Beside the voxels of a field lie its coordinates z, y and x; inputs of other kinds have names too."""
    np.save(tmp_path / "v.npy", labels())
    with pytest.raises(ArgumentError, match=f"a field cannot be called '{name}'"):
        tim3d.ingest(
            tmp_path / "v.npy",
            str(tmp_path / "a.zarr"),
            voxel_size=VOXEL,
            field=name,
            options=QUIET,
        )
    assert not (tmp_path / "a.zarr").exists()


def test_a_field_called_labels_of_an_older_sample_stays(tmp_path: Path) -> None:
    url = ingest(tmp_path, "raw", grey())
    made = store.read_field(url, "raw")
    store.create_field(
        url,
        type(made)(**{**vars(made), "name": "labels"}),
        store.provenance(fingerprint(a=1), {}, {}) | {"status": "complete"},
    )
    ingest(tmp_path, "phase", labels())
    assert "labels" in store.nodes(url)
    assert json.loads(Path(url, "labels/zarr.json").read_text())["attributes"]["tim3d"]
    assert not Path(url, "labels/phase").exists()
