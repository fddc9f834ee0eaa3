"""What a user types, right and wrong: exit codes, one-line messages, and nothing half-written."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import tim3d
from tim3d.cli.commands import COMMANDS
from tim3d.cli.main import main
from tim3d.storage import store

SIZE = ["--voxel-size", "20,5,5"]
CHECKER = (np.indices((9, 20, 30)).sum(axis=0) % 2).astype(np.uint8)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def slices(work: Path) -> Path:
    """A folder with nine good TIFF slices."""
    return write_slices(
        work / "slices", np.random.default_rng(1).integers(0, 255, (9, 20, 30), dtype=np.uint8)
    )


@pytest.fixture
def sample(work: Path) -> str:
    """A measured sample, blocks of 4 x 8 x 32 voxels."""
    np.save("phase.npy", CHECKER)
    good(
        "ingest",
        "phase.npy",
        "a.zarr",
        *SIZE,
        "--field",
        "phase",
        "--phases",
        "pore=0,solid=1",
        "--shard",
        "4,8,32",
    )
    good(
        "measure", "a.zarr", "--descriptors", "phase_fraction,specific_surface", "--block", "4,8,32"
    )
    return "a.zarr"


def write_slices(folder: Path, volume: NDArray[np.generic]) -> Path:
    folder.mkdir()
    for z, picture in enumerate(volume):
        tifffile.imwrite(folder / f"s_{z:03d}.tif", picture)
    return folder


def good(*arguments: str) -> None:
    assert main([*arguments, "--quiet"]) == 0


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content; folders without files by their name."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b""
        for p in sorted(folder.rglob("*"))
        if p.is_file() or not any(p.iterdir())
    }


class Bad:
    """Run a command that must fail, and check that it failed in one line and changed nothing."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def __call__(self, code: int, *arguments: str) -> str:
        before = tree(self.folder)
        self.capsys.readouterr()
        assert main([*arguments, "--quiet"]) == code
        out, err = self.capsys.readouterr()
        assert not out
        assert err.startswith("tim3d: ")
        assert err.count("\n") == 1, err
        assert tree(self.folder) == before
        return err


@pytest.fixture
def bad(work: Path, capsys: pytest.CaptureFixture[str]) -> Bad:
    return Bad(work, capsys)


def empty_folder(work: Path) -> str:
    (work / "in").mkdir()
    return "in"


def no_folder(work: Path) -> str:
    return "nowhere"


def other_size(work: Path) -> str:
    write_slices(work / "in", np.zeros((3, 8, 8), np.uint8))
    tifffile.imwrite(work / "in/s_001.tif", np.zeros((8, 9), np.uint8))
    return "in"


def truncated(work: Path) -> str:
    write_slices(work / "in", np.ones((3, 64, 64), np.uint8))
    path = work / "in/s_001.tif"
    path.write_bytes(path.read_bytes()[:2000])
    return "in"


def colour(work: Path) -> str:
    (work / "in").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(work / "in/a.png")
    return "in"


def not_a_number(work: Path) -> str:
    volume = np.zeros((3, 8, 8), np.float32)
    volume[1, 2, 3] = np.nan
    np.save(work / "in.npy", volume)
    return "in.npy"


BAD_INPUT: list[tuple[Callable[[Path], str], str]] = [
    (empty_folder, r"in"),
    (no_folder, r"nowhere"),
    (other_size, r"s_001\.tif"),
    (truncated, r"s_001\.tif"),
    (colour, r"a\.png"),
    (not_a_number, r"NaN|nan|finite"),
]


@pytest.mark.parametrize(("make", "named"), BAD_INPUT, ids=[make.__name__ for make, _ in BAD_INPUT])
def test_bad_input_is_one_line_and_leaves_nothing(
    work: Path, bad: Bad, make: Callable[[Path], str], named: str
) -> None:
    source = make(work)
    assert re.search(named, bad(3, "ingest", source, "a.zarr", *SIZE))


@pytest.mark.parametrize(("make", "named"), BAD_INPUT, ids=[make.__name__ for make, _ in BAD_INPUT])
def test_bad_input_leaves_a_good_sample_as_it_was(
    sample: str, work: Path, bad: Bad, make: Callable[[Path], str], named: str
) -> None:
    bad(3, "ingest", make(work), sample, *SIZE)


@pytest.mark.parametrize(
    ("size", "code"),
    [("0,5,5", 3), ("20,-5,5", 3), ("nan,5,5", 3), ("20,5", 2), ("a,b,c", 2), ("q=3", 2)],
)
def test_a_bad_voxel_size(slices: Path, bad: Bad, size: str, code: int) -> None:
    assert bad(code, "ingest", "slices", "a.zarr", "--voxel-size", size)


def test_an_unknown_voxel_size_is_asked_for(slices: Path, bad: Bad) -> None:
    assert "voxel" in bad(3, "ingest", "slices", "a.zarr")


def test_unknown_codes_leave_nothing(slices: Path, bad: Bad) -> None:
    said = bad(
        3, "ingest", "slices", "a.zarr", *SIZE, "--field", "phase", "--phases", "pore=0,solid=1"
    )
    assert "Name every code" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--block", "4,5"], "three edges"),
        (["--block", "3,20,30"], "Use --block"),
        (["--shard", "0,8,8"], "shard"),
        (["--units", "parsec"], "parsec"),
        (["--cluster", "moon"], "no cluster 'moon'"),
        (["--workers", "-1", "--cluster", "local"], "positive"),
        (["--phases", "pore"], "name=code"),
    ],
)
def test_bad_arguments(slices: Path, bad: Bad, arguments: list[str], says: str) -> None:
    assert says in bad(2, "ingest", "slices", "a.zarr", *SIZE, *arguments)


@pytest.mark.parametrize(
    "arguments", [["ingst"], [], ["ingest"], ["ingest", "a", "b", "--colour"], ["run"]]
)
def test_an_unknown_command_or_argument(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("tim3d: ")
    assert said.count("\n") == 1
    assert said.endswith("--help\n")


def test_a_plan_writes_nothing(
    slices: Path, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(work)
    good("ingest", "slices", "a.zarr", *SIZE, "--shard", "4,20,32", "--plan")
    assert "raw/s0: 3 of 3 blocks left, each 4x20x30 " in capsys.readouterr().out
    assert tree(work) == before


def test_a_plan_of_measure_writes_nothing(
    sample: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(work)
    good("measure", sample, "--plan")
    assert "phase_partials: " in capsys.readouterr().out
    assert tree(work) == before


def test_too_little_memory_names_the_cure(slices: Path, bad: Bad) -> None:
    assert "a worker has" in bad(5, "ingest", "slices", "a.zarr", *SIZE, "--memory", "0.01")


def test_show_and_validate(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    good("show", sample)
    assert "phase: 9x20x30 uint8, voxel 20x5x5 nm" in capsys.readouterr().out
    good("validate", sample, "--deep")
    assert capsys.readouterr().out == "a.zarr is a valid sample\n"


def shards(sample: str) -> list[Path]:
    return sorted(p for p in Path(sample, "phase/s0/phase/c").rglob("*") if p.is_file())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit": (flip, "cannot be decoded"),
    "a truncated shard": (lambda p: p.write_bytes(p.read_bytes()[:-5]), "cannot be decoded"),
    "a deleted shard": (lambda p: p.unlink(), "its shard is missing"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_deep_validation_finds(
    sample: str, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    damage, says = DAMAGE[kind]
    damage(shards(sample)[1])
    good("validate", sample)
    assert main(["validate", sample, "--deep"]) == 4
    out, err = capsys.readouterr()
    assert f"phase/s0 block (0, 1, 0): {says}" in out
    assert err == "tim3d: 1 fault(s) in a.zarr\n"


def test_a_region_as_a_table(sample: str, work: Path) -> None:
    good("describe", sample, "--z", "0:80", "--csv", "table.csv")
    rows = list(csv.DictReader((work / "table.csv").read_text().splitlines()))
    values = {(r["variable"], r["phase"]): r for r in rows if r["variable"] == "phase_fraction"}
    assert float(values["phase_fraction", "pore"]["value"]) == 0.5
    assert values["phase_fraction", "pore"]["units"] == "1"


def test_a_table_that_cannot_be_written(sample: str, bad: Bad) -> None:
    assert "mkdir -p nowhere" in bad(2, "describe", sample, "--csv", "nowhere/table.csv")


def test_a_sample_below_a_file(slices: Path, bad: Bad) -> None:
    assert "not a directory" in bad(4, "ingest", "slices", "slices/s_000.tif/a.zarr", *SIZE)


def test_a_region_between_the_faces_of_voxels(sample: str, bad: Bad) -> None:
    assert "nearest face of a voxel is at 100 nm" in bad(2, "describe", sample, "--z", "0:105")


def test_a_sample_that_is_missing_or_not_measured(slices: Path, bad: Bad) -> None:
    assert "no sample at none.zarr" in bad(3, "measure", "none.zarr")
    good("ingest", "slices", "a.zarr", *SIZE)
    assert "no field 'phase'" in bad(4, "measure", "a.zarr")
    assert "holds no labels" in bad(2, "measure", "a.zarr", "--field", "raw")


def test_an_unknown_descriptor(sample: str, bad: Bad) -> None:
    assert "phase_fracton" in bad(2, "measure", sample, "--descriptors", "phase_fracton")


def test_a_sample_of_a_newer_schema(sample: str, slices: Path, bad: Bad) -> None:
    path = Path(sample, "zarr.json")
    content = json.loads(path.read_text())
    content["attributes"]["tim3d"]["schema"] = 99
    path.write_text(json.dumps(content))
    for command in (
        ["ingest", "slices", sample, *SIZE],
        ["measure", sample],
        ["show", sample],
        ["validate", sample],
    ):
        assert "pip install --upgrade tim3d" in bad(4, *command)


def test_two_runs_on_one_sample(sample: str, slices: Path, bad: Bad) -> None:
    holder = f"from tim3d.engine import lock_sample\nwith lock_sample({sample!r}):\n print(1, flush=True)\n input()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        said = bad(4, "ingest", "slices", sample, *SIZE)
        assert f"is being written by process {other.pid}" in said
        other.communicate("\n")
    good("ingest", "slices", sample, *SIZE)


@pytest.fixture
def mounted(work: Path) -> Iterator[Path]:
    """An empty file system of one megabyte."""
    target = work / "small"
    target.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", target], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here: it needs the right to mount")
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", target], check=True)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    work: Path, mounted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = np.random.default_rng(0).integers(0, 256, (64, 64, 64), dtype=np.uint8)
    np.save("in.npy", volume)
    ballast = mounted / "ballast"
    ballast.write_bytes(bytes(760_000))
    command = ["ingest", "in.npy", "small/a.zarr", *SIZE, "--shard", "8,64,64", "--quiet"]
    assert main(command) == 4
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "no space left on device" in err
    done = len(list(mounted.glob("a.zarr.runs/raw/s0/*/done/*/*/*.json")))
    assert 0 < done < 8
    ballast.unlink()
    marker = next(mounted.glob("a.zarr.runs/raw/s0/*/done/0/0/0.json"))
    written = marker.stat().st_mtime_ns
    assert main(command) == 0
    assert marker.stat().st_mtime_ns == written
    np.testing.assert_array_equal(tim3d.open_field("small/a.zarr", "raw").values, volume)
    assert tim3d.validate("small/a.zarr", deep=True) == []


def test_a_read_only_folder(work: Path, mounted: Path, slices: Path, bad: Bad) -> None:
    good("ingest", "slices", "small/a.zarr", *SIZE)
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    for target, extra in (("small/new.zarr", []), ("small/a.zarr", ["--field", "other"])):
        said = bad(4, "ingest", "slices", target, *SIZE, *extra)
        assert "read-only file system" in said
    good("show", "small/a.zarr")
    good("validate", "small/a.zarr", "--deep")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_folder_without_permission(work: Path, slices: Path, bad: Bad) -> None:
    (work / "closed").mkdir(mode=0o500)
    assert "permission denied" in bad(4, "ingest", "slices", "closed/a.zarr", *SIZE)


RECIPE = """
sample = "a.zarr"

[[step]]
verb = "ingest"
source = "phase.npy"
field = "phase"
phases = {pore = 0, solid = 1}
voxel_size = {z = 20, y = 5, x = 5}
shard = [4, 8, 32]

[[step]]
verb = "measure"
descriptors = ["phase_fraction"]
"""


@pytest.fixture
def recipe(work: Path) -> str:
    np.save("phase.npy", CHECKER)
    (work / "r.toml").write_text(RECIPE)
    return "r.toml"


def test_a_recipe_runs_its_steps_and_then_only_resumes(recipe: str, work: Path) -> None:
    good("run", recipe)
    assert float(tim3d.describe("a.zarr").phase_fraction.sel(phase="pore")) == 0.5
    before = tree(work)
    good("run", recipe)
    assert tree(work) == before


def test_settings_change_a_recipe(recipe: str) -> None:
    good("run", recipe, "--set", "sample=b.zarr", "--set", "ingest.voxel_size=z=1,y=2,x=3")
    assert store.read_field("b.zarr", "phase").spacing_nm == (1.0, 2.0, 3.0)
    assert not Path("a.zarr").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--set", "ingst.field=a"], "no such step"),
        (["--set", "ingest.feild=a"], "did you mean 'field'"),
        (["--set", "ingest"], "key=value"),
        (["--set", "cluster.kind=moon"], "no cluster 'moon'"),
        (["--set", "cluster.wrkers=2"], "wrkers"),
    ],
)
def test_a_bad_setting(recipe: str, bad: Bad, change: list[str], says: str) -> None:
    assert says in bad(2, "run", recipe, *change)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("sample = 3 4", 3, "is not TOML"),
        ("a = " + "[" * 20000, 3, "is not TOML: maximum recursion depth"),
        ("a = " + "9" * 5000, 3, "is not TOML: Exceeds the limit"),
        ("step = 5", 2, "step is 5, expected arguments under [[step]]"),
        ("step = ['measure']", 2, "a step is 'measure', expected arguments under [[step]]"),
        ("[step]\nverb='measure'", 2, "expected arguments under [[step]]"),
        ("[[step]]\nverb=['measure']", 2, "verb ['measure'] (did you mean 'measure'?)"),
        (
            "[[step]]\nverb='measure'\nname=[1]",
            2,
            "has the name [1], expected text: name = 'measure'",
        ),
        ("sample = 5", 2, "sample is 5, expected sample = 'name.zarr'"),
        ("cluster = 'local'", 2, "cluster is 'local', expected keys under [cluster]"),
        (
            "sample='a.zarr'\ncluster.workers='two'\n[[step]]\nverb='measure'",
            2,
            "workers is 'two', expected a whole number",
        ),
        (
            "sample='a.zarr'\ncluster.threads=1.5\n[[step]]\nverb='measure'",
            2,
            "threads is 1.5, expected a whole number",
        ),
        (
            "sample='a.zarr'\ncluster.memory_gib=nan\n[[step]]\nverb='measure'",
            2,
            "memory_gib is nan, expected a number",
        ),
        ("colour = 1", 2, "'colour'"),
        ("sample = 'a.zarr'", 2, "at least one"),
        ("[[step]]\nverb='ingst'", 2, "'ingst'"),
        ("[[step]]\nverb='measure'", 2, "names no sample"),
        ("sample='a.zarr'\n[[step]]\nverb='ingest'\nsuorce='x'", 2, "did you mean 'source'"),
    ],
)
def test_a_bad_recipe(work: Path, bad: Bad, text: str, code: int, says: str) -> None:
    (work / "r.toml").write_text(text)
    assert says in bad(code, "run", "r.toml")


def test_a_recipe_that_is_not_text(work: Path, bad: Bad) -> None:
    (work / "r.toml").write_bytes(b"sample = 'a\xff.zarr'")
    assert "recipe r.toml is not TOML: 'utf-8' codec can't decode byte 0xff" in bad(
        3, "run", "r.toml"
    )


def test_a_recipe_that_is_missing(bad: Bad) -> None:
    assert "no recipe at" in bad(3, "run", "none.toml")


def test_the_installed_command_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tim3d", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"tim3d {tim3d.__version__}\n"


ENDS = """
import atexit, sys
import {module}
from tim3d.cli import main as shell

class Last:
    def __del__(self):
        print("the interpreter is taken down")

def main():
    atexit.register(print, "closed")
    return run()

last, run, shell.main = Last(), shell.main, main
sys.argv = ["tim3d", *{words!r}]
shell.program()
"""


@pytest.mark.parametrize(
    ("words", "code", "module"),
    [
        (["--version"], 0, "obstore"),
        (["show"], 2, "obstore"),
        (["show", "nowhere.zarr"], 3, "obstore"),
        (["show"], 2, "json"),  # no store: the interpreter is taken down as ever
    ],
)
def test_a_process_that_has_reached_for_a_store_ends_with_its_code_and_not_by_its_threads(
    tmp_path: Path, words: list[str], code: int, module: str
) -> None:
    """All is closed, and what was said is out; no thread of obstore meets an interpreter that ends."""
    pytest.importorskip("obstore")
    out = tmp_path / "said"
    with out.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", ENDS.format(module=module, words=words)],
            cwd=tmp_path, stdout=file, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == code
    said = out.read_text().splitlines()
    assert "closed" in said
    assert ("the interpreter is taken down" in said) is (module == "json")
    assert (len(done.stderr.splitlines()) == 1) is (code > 0), done.stderr


def test_an_interrupted_command_says_so_in_one_line_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "show", replace(COMMANDS["show"], action=interrupted))
    assert main(["show", "a.zarr"]) == 130
    said = capsys.readouterr().err.splitlines()
    assert said == ["tim3d: interrupted; run the same command again to go on"]
