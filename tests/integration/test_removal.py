"""Nothing is destroyed: a removal follows no link, takes no file that tim3d does not write, and no field by mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.contents import content
from tim3d import Options
from tim3d.cli.main import main
from tim3d.engine import Ledger
from tim3d.errors import ArgumentError, MixedRunError, SchemaError, StoreError, Tim3dError
from tim3d.storage import store
from tim3d.storage.removal import MARKERS, NODE, remove_tree

QUIET = Options(progress=False)
ANEW = Options(progress=False, overwrite=True)


def volume(seed: int = 0) -> np.ndarray:
    """A random volume of two phases."""
    return (np.random.default_rng(seed).random((8, 16, 16)) > 0.5).astype(np.uint8)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    """A measured sample of grey values and labels."""
    url = str(tmp_path / "a.zarr")
    np.save(tmp_path / "v.npy", volume())
    size = {"z": 5.0, "y": 5.0, "x": 5.0}
    tim3d.ingest(tmp_path / "v.npy", url, voxel_size=size, options=QUIET)
    phases = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        tmp_path / "v.npy", url, voxel_size=size, field="phase", phases=phases, options=QUIET
    )
    tim3d.measure(url, options=QUIET)
    return url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with work of somebody's life."""
    (tmp_path / "home/thesis/s0").mkdir(parents=True)
    (tmp_path / "home/thesis/s0/thesis.tex").write_text("precious")
    return tmp_path / "home"


def alive(home: Path) -> bool:
    return (home / "thesis/s0/thesis.tex").read_text() == "precious"


def replace_by_link(place: Path, target: Path) -> None:
    """Move what is there aside, and lay a link in its place."""
    if place.exists():
        place.rename(place.with_name("aside"))
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)


@pytest.mark.parametrize(
    "place", ["a.zarr", "a.zarr.runs", "a.zarr.runs/phase", "a.zarr.runs/phase/s0", "a.zarr/phase"]
)
def test_a_link_in_the_place_of_a_folder_of_ours_is_refused(
    place: str, sample: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_by_link(tmp_path / place, home / "thesis")
    before = content(home)
    line = [
        "ingest",
        str(tmp_path / "v.npy"),
        sample,
        "--field",
        "phase",
        "--phases",
        "pore=0,solid=1",
        "--overwrite",
    ]
    assert main([*line, "--voxel-size", "5,5,5", "--quiet"]) == 4
    said = capsys.readouterr().err
    assert "is a link to" in said or "not a tim3d sample" in said or "not a zarr group" in said
    assert said.count("\n") == 1
    assert alive(home)
    assert content(home) == before


def test_a_new_sample_does_not_clear_a_folder_of_somebody_else(home: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", volume())
    size = {"z": 5.0, "y": 5.0, "x": 5.0}
    (tmp_path / "b.zarr.runs").symlink_to(home)
    with pytest.raises(StoreError, match=r"is a link to"):
        tim3d.ingest(tmp_path / "v.npy", str(tmp_path / "b.zarr"), voxel_size=size, options=QUIET)
    assert alive(home)
    assert not (tmp_path / "b.zarr").exists()
    home.rename(tmp_path / "c.zarr.runs")
    with pytest.raises(StoreError, match=r"thesis.tex is not a file that tim3d writes"):
        tim3d.ingest(tmp_path / "v.npy", str(tmp_path / "c.zarr"), voxel_size=size, options=QUIET)
    assert alive(tmp_path / "c.zarr.runs")
    assert not (tmp_path / "c.zarr").exists()


def test_a_file_of_the_user_in_a_node_stops_its_removal_as_a_whole(sample: str) -> None:
    note = Path(sample, "phase/s0/notes.txt")
    note.write_text("the beam was unstable here")
    before = content(sample)
    with pytest.raises(
        StoreError,
        match=r"phase/s0/notes.txt is not a file that tim3d writes, so nothing .* removed",
    ):
        store.delete_node(sample, "phase")
    assert content(sample) == before
    note.rename(note.with_name(".DS_Store"))  # what a desktop left is no reason
    store.delete_node(sample, "phase")
    assert "phase" not in store.nodes(sample)


@pytest.mark.parametrize("name", ["", ".", "..", "../a.zarr", "phase/..", "phase//s0"])
def test_a_removal_stays_below_its_root(name: str, sample: str) -> None:
    before = content(sample)
    with pytest.raises(SchemaError, match=r"cannot be a name"):
        store.delete_node(sample, name)
    assert content(sample) == before


@pytest.mark.parametrize("folder", ["memory://removal/a.zarr", "a.zarr"])
def test_only_paths_of_our_own_shape_are_removed(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = ["zarr.json", "s0/zarr.json", "s0/raw/c/0/12/3", "x/c", "s0/zarr.json.0123abcd.partial"]
    marks = ["s0/0123456789abcdef/layout.json", "s0/0f/done/0/1/2.json", "s0/0f/failed/0/1/2.json"]
    marks += ["0f/summary-12.json", "s0/0f/done/0/0/.0.json.0123abcd"]
    for pattern, names in ((NODE, ours), (MARKERS, marks)):
        write(folder, [f"node/{name}" for name in names])
        for foreign in (
            "thesis.tex",
            "s0/c/thesis",
            "s0/0f/done/0/1/2.txt",
            "data.json",
            "0f/zarr.json.bak",
        ):
            write(folder, [f"node/{foreign}"])
            with pytest.raises(StoreError, match=r"is not a file that tim3d writes"):
                remove_tree(folder, "node", pattern)
            assert len(listed(folder)) == len(names) + 1
            unwrite(folder, f"node/{foreign}")
        remove_tree(folder, "node", pattern)
        assert listed(folder) == []
        remove_tree(folder, "node", pattern)  # again: it need not be there


def write(folder: str, names: list[str]) -> None:
    fs, root = tim3d.storage.files.file_system(folder)
    for name in names:
        fs.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{root}/{name}", b"x")


def unwrite(folder: str, name: str) -> None:
    fs, root = tim3d.storage.files.file_system(folder)
    fs.rm_file(f"{root}/{name}")


def listed(folder: str) -> list[str]:
    fs, root = tim3d.storage.files.file_system(folder)
    return list(fs.find(root))


def test_a_result_does_not_take_the_place_of_a_field(sample: str) -> None:
    before = content(sample)
    found = store.open_dataset(sample, "phase_descriptors").load()
    with pytest.raises(
        MixedRunError, match=r"'raw' in .* is a field; a dataset cannot replace it.*--out NAME"
    ):
        store.write_dataset(sample, "raw", found, store.provenance("f", {}, {}))
    with pytest.raises(Tim3dError, match=r"is not a result of study"):
        tim3d.study(
            sample, quantity="phase_fraction", phase="pore", windows=[4], out="phase", options=ANEW
        )
    with pytest.raises(Tim3dError, match=r"is a field|is not? "):
        tim3d.solve(sample, conductivity={"pore": 1.0, "solid": 2.0}, out="raw", options=ANEW)
    image, phases = Path(sample).with_name("image.npy"), tim3d.Phases(pore=0, solid=1)
    np.save(image, volume()[0])
    with pytest.raises(Tim3dError, match=r"is a field|is not? "):
        tim3d.fidelity(
            sample,
            micrograph=[str(image)],
            phases=phases,
            as_voxels=True,
            out="raw",
            slices=0,
            options=ANEW,
        )
    assert content(sample) == before


def test_a_field_takes_the_place_of_no_result_and_of_no_field_that_it_is_made_from(
    sample: str,
) -> None:
    before = content(sample)
    fixed = {
        "method": "fixed",
        "thresholds": [1],
        "phases": tim3d.Phases(pore=0, solid=1),
        "options": ANEW,
    }
    with pytest.raises(MixedRunError, match=r"is a dataset; a field cannot replace it"):
        tim3d.segment(sample, out="phase_descriptors", **fixed)
    with pytest.raises(ArgumentError, match=r"segment reads 'raw' of .* and cannot write it"):
        tim3d.segment(sample, out="raw", **fixed)
    with pytest.raises(ArgumentError, match=r"label reads 'phase' of .* and cannot write it"):
        tim3d.label(sample, keep=True, component="phase", options=ANEW)
    assert content(sample) == before


@pytest.mark.parametrize("source", ["{}", "{}/raw/s0", "{}/raw/s0/raw"])
def test_a_field_is_not_ingested_over_itself(source: str, sample: str) -> None:
    before = content(sample)
    more = {"dataset": "raw/s0/raw"} if source == "{}" else {}
    with pytest.raises(ArgumentError, match=r"reads 'raw' of .* and cannot write it"):
        tim3d.ingest(
            source.format(sample), sample, voxel_size={"z": 1, "y": 1, "x": 1}, options=ANEW, **more
        )
    assert content(sample) == before


@pytest.mark.parametrize("content", [b"my notes", b"\xff\xfe"])
def test_a_file_in_the_place_of_the_lock_is_not_taken_for_one(content: bytes, sample: str) -> None:
    lock = Path(f"{sample}.runs/lock")
    lock.write_bytes(content)
    with pytest.raises(StoreError, match=r"is not a lock of tim3d. Move it elsewhere"):
        tim3d.measure(sample, options=ANEW)
    assert lock.read_bytes() == content


def test_a_ledger_forgets_its_own_pass_only(sample: str) -> None:
    other = Ledger(sample, "raw/s0", "f" * 64)
    other.note("summary-1", {})
    Ledger(sample, "phase/s0", "0" * 64).forget()
    assert not Path(f"{sample}.runs/phase/s0").exists()
    assert Path(other.folder, "summary-1.json").exists()
