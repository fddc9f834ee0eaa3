"""What a container promises and does not hold is counted at opening, and never read as zero unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from tim3d.errors import ArgumentError, InputError, MissingExtraError
from tim3d.sources import open_source

SHAPE = (6, 20, 20)
VOXELS = np.random.default_rng(0).integers(1, 255, SHAPE).astype(np.uint8)
LAYOUTS: list[dict[str, Any]] = [
    {"chunks": (2, 10, 10), "zarr_format": 2},
    {
        "chunks": (2, 10, 10),
        "zarr_format": 2,
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    },
    {"chunks": (2, 10, 10), "zarr_format": 3},
    {"chunks": (1, 5, 5), "shards": (2, 10, 10), "zarr_format": 3},
]


def stored(path: Path, layout: dict[str, Any]) -> list[Path]:
    """Files of the chunks or shards of a zarr, in order."""
    zarr.create_array(path, data=VOXELS, fill_value=7, **layout)
    return sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and p.name not in ("zarr.json", ".zarray", ".zattrs")
    )


@pytest.mark.parametrize("spell", [str, lambda path: f"file://{path}"], ids=["path", "url"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=["v2", "v2 nested", "v3", "sharded"])
def test_missing_chunks_of_zarr_are_refused_or_filled(
    layout: dict[str, Any], spell: Callable[[Path], str], tmp_path: Path
):
    path = tmp_path / "a.zarr"
    files = stored(path, layout)
    assert len(files) == 12
    assert open_source(spell(path)).filled == 0
    files[4].unlink()
    with pytest.raises(
        InputError,
        match=r"1 of 12 chunks are not there, the first is .*read as 7.*--missing-chunks fill",
    ):
        open_source(spell(path))
    source = open_source(spell(path), missing_chunks="fill")
    assert source.filled == 1
    found = source.read(0, 6)
    assert (
        (found != VOXELS).sum() == (found == 7).sum() - ((found == 7) & (VOXELS == 7)).sum() <= 200
    )
    assert (found == 7).sum() >= 200


def test_what_is_filled_tells_a_source_from_another(tmp_path: Path):
    files = stored(tmp_path / "a.zarr", LAYOUTS[2])
    digests = [open_source(tmp_path / "a.zarr").identity()]
    for gone in files[5:7]:  # neither in the first slice nor in the last
        gone.unlink()
        digests.append(open_source(tmp_path / "a.zarr", missing_chunks="fill").identity())
    assert len(set(digests)) == 3


@pytest.mark.parametrize("layout", LAYOUTS, ids=["v2", "v2 nested", "v3", "sharded"])
def test_a_chunk_that_goes_missing_after_opening_is_an_error(
    layout: dict[str, Any], tmp_path: Path
):
    files = stored(tmp_path / "a.zarr", layout)
    source = open_source(tmp_path / "a.zarr")
    files[-1].unlink()
    np.testing.assert_array_equal(source.read(0, 4), VOXELS[:4])
    with pytest.raises(InputError, match="is not there"):
        source.read(4, 6)


def test_what_the_index_of_a_shard_calls_empty_is_there(tmp_path: Path):
    sparse = VOXELS.copy()
    sparse[:, :5, :5] = 0
    zarr.create_array(
        tmp_path / "a.zarr", data=sparse, chunks=(1, 5, 5), shards=(2, 10, 10), fill_value=0
    )
    np.testing.assert_array_equal(open_source(tmp_path / "a.zarr").read(0, 6), sparse)


def test_missing_chunks_of_hdf5_are_refused_or_filled(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("v", SHAPE, "u1", chunks=(2, 10, 10), fillvalue=7)
        data[:2] = VOXELS[:2]
        data[4:] = VOXELS[4:]
        file.create_dataset("w", SHAPE, "u1")
    with pytest.raises(
        InputError,
        match=r"4 of 12 chunks are not there, the first is the one from voxel \(2, 0, 0\) on",
    ):
        open_source(tmp_path / "a.h5", dataset="v")
    source = open_source(tmp_path / "a.h5", dataset="v", missing_chunks="fill")
    assert source.filled == 4
    assert (source.read(2, 4) == 7).all()
    with pytest.raises(InputError, match="1 of 1 chunks are not there, the first is all of it"):
        open_source(tmp_path / "a.h5", dataset="w")


def virtual(folder: Path, names: list[str], planes: int = 3) -> Path:
    layout = h5py.VirtualLayout((planes, 20, 20), "u1")
    for z, name in enumerate(names):
        layout[z] = h5py.VirtualSource(name, "v", (20, 20))
    with h5py.File(folder / "all.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    return folder / "all.h5"


def test_sources_of_a_virtual_data_set_that_are_gone_or_not_named(tmp_path: Path):
    names = [f"part{z}.h5" for z in range(3)]
    for name, plane in zip(names, VOXELS, strict=False):
        with h5py.File(tmp_path / name, "w") as file:
            file["v"] = plane
    np.testing.assert_array_equal(open_source(virtual(tmp_path, names)).read(0, 3), VOXELS[:3])
    with pytest.raises(
        InputError, match=r"1 of 4 chunks are not there, the first is where no source is named"
    ):
        open_source(virtual(tmp_path, names, planes=4))
    path = virtual(tmp_path, names)
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(InputError, match=r"1 of 3 chunks are not there, the first is part1\.h5:v"):
        open_source(path)
    assert (open_source(path, missing_chunks="fill").read(1, 2) == 0).all()


def test_the_option_belongs_to_containers(tmp_path: Path):
    np.save(tmp_path / "a.npy", VOXELS)
    with pytest.raises(
        ArgumentError,
        match=r"--missing-chunks is about HDF5 and zarr; npy \(a\.npy\) has no chunks",
    ):
        open_source(tmp_path / "a.npy", missing_chunks="fill")
    with pytest.raises(ArgumentError, match="write refuse or fill"):
        open_source(tmp_path / "a.npy", missing_chunks="zero")  # type: ignore[arg-type]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "inbox").mkdir()
    with h5py.File(tmp_path / "keys" / "mine.h5", "w") as file:
        file["v"] = VOXELS[0]
        file["w"] = VOXELS
    (tmp_path / "keys" / "secret.bin").write_bytes(VOXELS.tobytes())
    return tmp_path / "keys"


def test_external_storage_is_refused_also_behind_links_and_virtual_data_sets(secret: Path):
    inbox = secret.parent / "inbox"
    with h5py.File(inbox / "scan.h5", "w") as file:
        file.create_dataset(
            "v", SHAPE, "u1", external=[(str(secret / "secret.bin"), 0, VOXELS.size)]
        )
        file["link"] = h5py.SoftLink("/v")
        layout = h5py.VirtualLayout(SHAPE, "u1")
        layout[:] = h5py.VirtualSource(".", "v", SHAPE)
        file.create_virtual_dataset("virtual", layout)
    with h5py.File(inbox / "master.h5", "w") as file:
        file["there"] = h5py.ExternalLink("scan.h5", "/v")
    for name, dataset in [
        ("scan.h5", "v"),
        ("scan.h5", "link"),
        ("scan.h5", "virtual"),
        ("master.h5", "there"),
    ]:
        for policy in ("refuse", "fill"):
            with pytest.raises(InputError, match=r"secret\.bin \(external storage\)"):
                open_source(inbox / name, dataset=dataset, missing_chunks=policy)  # type: ignore[arg-type]


@pytest.mark.parametrize("spelling", ["../keys/mine.h5", "{}/mine.h5"])
def test_links_and_virtual_data_sets_do_not_leave_the_folder(
    spelling: str, secret: Path, monkeypatch: pytest.MonkeyPatch
):
    inbox, target = secret.parent / "inbox", spelling.format(secret)
    with h5py.File(inbox / "link.h5", "w") as file:
        file["v"] = h5py.ExternalLink(target, "/w")
    for dataset in (None, "v"):
        with pytest.raises(
            InputError, match=r"v leads to .*mine\.h5, which is outside the folder .*inbox"
        ):
            open_source(inbox / "link.h5", dataset=dataset)
    with pytest.raises(
        InputError, match=r"takes its voxels from .*mine\.h5, which is outside the folder"
    ):
        open_source(virtual(inbox, [target] * 3))
    # HDF5 looks in the working folder too.
    monkeypatch.chdir(secret)
    with pytest.raises(InputError, match="which is outside the folder"):
        open_source(virtual(inbox, ["mine.h5"] * 3), missing_chunks="fill")


def test_a_virtual_data_set_that_leads_back_to_itself_is_refused(tmp_path: Path):
    for name, source in [("a.h5", "."), ("b.h5", "c.h5"), ("c.h5", "b.h5")]:
        layout = h5py.VirtualLayout(SHAPE, "u1")
        layout[:] = h5py.VirtualSource(source, "v", SHAPE)
        with h5py.File(tmp_path / name, "w") as file:
            file.create_virtual_dataset("v", layout)
    for name in ("a.h5", "b.h5"):
        with pytest.raises(InputError, match="lead back to it"):
            open_source(tmp_path / name, missing_chunks="fill")


def test_links_within_the_folder_are_followed_and_one_volume_counts_once(tmp_path: Path):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["deep/v"] = VOXELS
        file["deep/again"] = h5py.SoftLink("/deep")  # a circle
        file["entry"] = h5py.SoftLink("/deep")
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["scan"] = h5py.ExternalLink("part.h5", "/deep")
        file["gone"] = h5py.ExternalLink("never.h5", "/v")
    for name, dataset in [
        ("part.h5", None),
        ("part.h5", "entry/v"),
        ("master.h5", None),
        ("master.h5", "scan/again/v"),
    ]:
        np.testing.assert_array_equal(
            open_source(tmp_path / name, dataset=dataset).read(0, 6), VOXELS
        )
    with pytest.raises(InputError, match=r"gone leads to never\.h5:/v, which is not there"):
        open_source(tmp_path / "master.h5", dataset="gone")


def test_codecs_that_are_missing_or_run_code(tmp_path: Path):
    zarr.create_array(tmp_path / "a.zarr", data=VOXELS)
    text = (tmp_path / "a.zarr" / "zarr.json").read_text()
    (tmp_path / "a.zarr" / "zarr.json").write_text(text.replace('"zstd"', '"unheard"'))
    with pytest.raises(MissingExtraError, match="unheard"):
        open_source(tmp_path / "a.zarr")
    zarr.create_array(tmp_path / "b.zarr", data=VOXELS, zarr_format=2, compressors=None)
    text = (tmp_path / "b.zarr" / ".zarray").read_text()
    (tmp_path / "b.zarr" / ".zarray").write_text(
        text.replace('"compressor": null', '"compressor": {"id": "pickle"}')
    )
    with pytest.raises(InputError, match="pickle"):
        open_source(tmp_path / "b.zarr")


def test_memory_of_chunks_is_told_before_they_are_read(tmp_path: Path):
    zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=(10**4, 10**4, 10**4), dtype="u1")
    with pytest.raises(InputError, match="1 of 1 chunks"):
        open_source(tmp_path / "a.zarr")
    assert open_source(tmp_path / "a.zarr", missing_chunks="fill").piece_bytes == 10**12
