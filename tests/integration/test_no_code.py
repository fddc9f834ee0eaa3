"""Data is data: nothing that a stranger's file says is run, and nothing leaves its folder unless the user says so."""

from __future__ import annotations

import ast
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import tim3d
from tests.unit.test_layers import modules, tree
from tests.works import number_pass
from tim3d.cli.main import main
from tim3d.cli.recipe import load_recipe
from tim3d.engine import run
from tim3d.errors import InputError, MixedRunError

TRACE = "ran.txt"
CALL = f"__import__('os').system('touch {TRACE}')"


class Evil:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {TRACE}",)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder; at the end nothing in it may have run."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def refused(capfd: pytest.CaptureFixture[str], codes: set[int], *line: str) -> str:
    """One line of error, a code of ours, and no trace."""
    assert main([*line]) in codes
    assert not Path(TRACE).exists()
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert said.count("tim3d: ") == 1
    return said


def test_the_trap_works(work: Path) -> None:
    pickle.loads(pickle.dumps(Evil()))
    assert Path(TRACE).exists()


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt", "net.ckpt", "net.pkl"])
def test_a_pickle_as_a_network_is_refused(
    name: str, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save("grey.npy", np.zeros((4, 8, 8), np.uint8))
    assert main(["ingest", "grey.npy", "a.zarr", "--voxel-size", "1,1,1", "--quiet"]) == 0
    Path(name).write_bytes(pickle.dumps(Evil()))
    said = refused(capfd, {3}, "segment", "a.zarr", "--model", name, "--phases", "pore=0,solid=1")
    assert name in said
    torch = pytest.importorskip("torch")
    torch.save({"net": Evil()}, name)
    refused(capfd, {3}, "segment", "a.zarr", "--model", name, "--phases", "pore=0,solid=1")


def test_a_pickle_as_the_state_of_a_training_is_refused(work: Path) -> None:
    torch = pytest.importorskip("torch")
    from tim3d.models.common.training_state import read_state

    torch.save({"net": Evil()}, "archive")
    for content in (pickle.dumps(Evil(), 2), b"\x80\x02.", Path("archive").read_bytes()):
        Path("state").write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be resumed\. Start again with --overwrite"):
            read_state(Path("state"), "key")
        Path("state").write_bytes(
            b"tim3d state\n" + bytes(32) + content
        )  # as earlier versions wrote them
        with pytest.raises(
            MixedRunError, match=r"another version of tim3d .* Start again with --overwrite"
        ):
            read_state(Path("state"), "key")
    assert not Path(TRACE).exists()


def object_npy() -> str:
    np.save("grey.npy", np.full((2, 2, 2), Evil(), object), allow_pickle=True)
    return "grey.npy"


def object_hdf5() -> str:
    with h5py.File("grey.h5", "w") as file:
        file["a"] = np.frombuffer(pickle.dumps(Evil()), np.uint8)
        file["a"].attrs["pickle"] = np.void(pickle.dumps(Evil()))
    return "grey.h5"


def zarr_of(dtype: str, *filters: str, compressor: str = "") -> Callable[[], str]:
    """A version 2 array whose chunk is a pickle."""

    def make() -> str:
        folder = Path("grey.zarr")
        folder.mkdir()
        made = [
            {"id": name, "dtype": "|u1"} if name == "delta" else {"id": name} for name in filters
        ]
        about = {
            "zarr_format": 2,
            "shape": [4] * 3,
            "chunks": [4] * 3,
            "dtype": dtype,
            "order": "C",
            "fill_value": 0,
        }
        about |= {"filters": made or None, "compressor": {"id": compressor} if compressor else None}
        (folder / ".zarray").write_text(json.dumps(about))
        (folder / "0.0.0").write_bytes(pickle.dumps(Evil()))
        return "grey.zarr"

    return make


SOURCES = {
    "npy": object_npy,
    "hdf5": object_hdf5,
    "zarr filter": zarr_of("|u1", "pickle"),
    "zarr filters": zarr_of("|u1", "delta", "pickle"),
    "zarr compressor": zarr_of("|u1", compressor="pickle"),
    "zarr objects": zarr_of("|O", "pickle"),
    "zarr texts": zarr_of("|O", "vlen-utf8", "pickle"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_pickle_as_a_stack_is_refused(
    kind: str, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = SOURCES[kind]()
    refused(capfd, {2, 3}, "ingest", source, "a.zarr", "--voxel-size", "1,1,1")
    assert not Path("a.zarr").exists()


@pytest.mark.parametrize(
    "line",
    [
        f"shape = \"{CALL}\"",
        f"voxel_size = {{ z = \"{CALL}\", y = 1, x = 1 }}",
        'shape = "!!python/object/apply:os.system [touch ran.txt]"',
        'block = "$(touch ran.txt)"',
        'source = "$(touch ran.txt)"',
        'source = "`touch ran.txt`"',
        'field = "{0.__class__.__init__.__globals__}"',
        "verb = \"os.system\"",
        f"verb = \"{CALL}\"",
    ],
)  # fmt: skip
def test_a_recipe_says_and_does_not_run(
    line: str, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = line.partition(" ")[0]
    steps = {
        "verb": 'verb = "ingest"',
        "source": 'source = "grey.npy"',
        "voxel_size": "voxel_size = { z = 1 }",
    }
    text = "\n".join(
        ["sample = 'a.zarr'", "[[step]]", *(v for k, v in steps.items() if k != name), line]
    )
    Path("r.toml").write_text(text)
    refused(capfd, {2, 3}, "run", "r.toml")


@pytest.mark.parametrize(
    "content", [pickle.dumps(Evil()), CALL.encode(), b"!!python/name:os.system", b"[1, 2]", b""]
)
def test_a_marker_says_and_does_not_run(
    content: bytes, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save("grey.npy", np.arange(4096, dtype=np.uint16).reshape(16, 16, 16))
    line = [
        "ingest",
        "grey.npy",
        "a.zarr",
        "--voxel-size",
        "1,1,1",
        "--shard",
        "8,16,16",
        "--quiet",
    ]
    assert main(line) == 0
    tim3d.storage.store.update_node("a.zarr", "raw", status="writing")
    markers = [
        *Path("a.zarr.runs").rglob("layout.json"),
        *Path("a.zarr.runs").rglob("done/0/0/0.json"),
    ]
    for marker in markers:
        before = marker.read_bytes()
        marker.write_bytes(content)
        assert f"{marker} is damaged" in refused(capfd, {4}, *line)
        if marker.name == "layout.json":
            refused(capfd, {4}, "status", "a.zarr")
        marker.write_bytes(before)
    assert main(line) == 0


@pytest.mark.parametrize("text", [CALL, "[]", '{"schema": "x"}', '{"schema": [2]}', "3"])
def test_attributes_of_a_sample_say_and_do_not_run(
    text: str, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(number_pass("a.zarr"), progress=False)
    about = json.loads(Path("a.zarr/zarr.json").read_text())
    about["attributes"]["tim3d"] = json.loads(text) if text != CALL else CALL
    Path("a.zarr/zarr.json").write_text(json.dumps(about))
    assert "not a tim3d sample" in refused(capfd, {4}, "show", "a.zarr")


RECIPE = """
sample = "{sample}"
{more}
[[step]]
verb = "ingest"
source = {source}
voxel_size = {{ z = 1, y = 1, x = 1 }}
"""


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("sample", {"sample": "../a.zarr"}),
        ("sample", {"sample": "/tmp/a.zarr"}),
        ("sample", {"sample": "//tmp/a.zarr"}),
        ("sample", {"sample": "file:///tmp/a.zarr"}),
        ("sample", {"sample": "local://../a.zarr"}),
        ("ingest.source", {"source": '"~/.ssh"'}),
        ("ingest.source", {"source": '["grey.npy", "inner/../../grey.npy"]'}),
        ("ingest.source", {"source": '"simplecache::file:///etc/passwd"'}),
        ("cluster.tls", {"more": "[cluster]\ntls = '/etc/keys'"}),
        ("cluster.site", {"more": "[cluster]\nkind = 'slurm'\nsite = 'site.toml'"}),
        ("cluster.kind", {"more": "[cluster]\nkind = 'tcp://stranger:8786'"}),
    ],
)
def test_a_recipe_stays_in_its_folder(
    key: str, change: dict[str, str], work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parts = {"sample": "a.zarr", "source": '"grey.npy"', "more": "", **change}
    Path("r.toml").write_text(RECIPE.format(**parts))
    before = sorted(work.parent.rglob("*"))
    said = refused(capfd, {2}, "run", "r.toml")
    assert f"{key} is " in said
    assert "--trust" in said
    assert sorted(work.parent.rglob("*")) == before
    load_recipe("r.toml", trust=True)
    load_recipe("r.toml", [f"{key}=/somewhere/else"])  # the user's own word


def test_the_folder_of_a_recipe_is_a_home_too(work: Path) -> None:
    Path("inner").mkdir()
    for recipe, sample in (
        ("inner/r.toml", work / "a.zarr"),
        ("inner/r.toml", work / "inner/a.zarr"),
    ):
        Path(recipe).write_text(
            RECIPE.format(sample=sample, source='"s3://bucket/raw.zarr"', more="")
        )
        assert load_recipe(recipe).sample == str(sample)


def test_a_trusted_recipe_writes_elsewhere(work: Path) -> None:
    np.save("grey.npy", np.zeros((4, 4, 4), np.uint8))
    Path("r.toml").write_text(RECIPE.format(sample="../a.zarr", source='"grey.npy"', more=""))
    assert main(["run", "r.toml", "--trust", "--quiet"]) == 0
    assert (work.parent / "a.zarr").is_dir()


def called(function: ast.expr) -> str:
    """Names of a function that is called, with dots; what is before them may be a call itself."""
    if isinstance(function, ast.Attribute):
        return f"{called(function.value)}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def test_the_package_calls_nothing_that_runs_data() -> None:
    """The engine pickles passes and sums for its own processes, which know each other; never for a file."""
    for module, path in modules().items():
        for call in (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)):
            name = called(call.func)
            said = f"{path.name}:{call.lineno} {name}"
            assert name not in {"eval", "exec", "yaml.load", "os.system", "pickle.load"}, said
            assert not name.endswith("pickle.loads") or "engine" in path.parts, said
            words = {"allow_pickle", "shell", "weights_only"}
            keywords = {w.arg: ast.unparse(w.value) for w in call.keywords if w.arg in words}
            assert keywords.get("allow_pickle", "False") == "False", said
            assert keywords.get("shell", "False") == "False", said
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", said
