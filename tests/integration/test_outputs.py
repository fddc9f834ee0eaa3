"""Files that a user is given appear whole or not at all, and only take the place of their own kind."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import tim3d
from tim3d import Options
from tim3d.cli.main import main
from tim3d.engine import journal
from tim3d.errors import ArgumentError, MixedRunError, WriteError
from tim3d.models.common.weights import read_weights, write_weights
from tim3d.reporting.page import write_figure
from tim3d.reporting.table import rows, write_csv
from tim3d.stages.generation.simulate import simulate
from tim3d.storage import outputs, store

QUIET = Options(progress=False)
SIZE = {"z": 5.0, "y": 5.0, "x": 5.0}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A measured sample."""
    folder = tmp_path_factory.mktemp("outputs")
    np.save(folder / "v.npy", (np.random.default_rng(0).random((8, 16, 16)) > 0.5).astype(np.uint8))
    url, phases = str(folder / "a.zarr"), tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        folder / "v.npy", url, voxel_size=SIZE, field="phase", phases=phases, options=QUIET
    )
    tim3d.measure(url, options=QUIET)
    return url


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def figure() -> object:
    from matplotlib.figure import Figure

    made = Figure()
    made.subplots().plot(range(9))
    return made


WRITERS: dict[str, Callable[[str, Path], object]] = {
    "report.html": lambda sample, path: tim3d.report(sample, path),
    "table.csv": lambda sample, path: write_csv(rows({sample: tim3d.describe(sample)}), path),
    "figure.png": lambda sample, path: write_figure(figure(), path),
    "figure.pdf": lambda sample, path: write_figure(figure(), path),
    "figure.svg": lambda sample, path: write_figure(figure(), path),
    "figure.eps": lambda sample, path: write_figure(figure(), path),
    "net.safetensors": lambda sample, path: write_weights(path, {"a": torch.arange(999)}, "{}"),
}
EVERY = pytest.mark.parametrize("name", WRITERS)


@pytest.mark.long
@EVERY
def test_a_failed_write_leaves_what_was_there_and_nothing_else(
    name: str, sample: str, tmp_path: Path
) -> None:
    path, write = tmp_path / "out" / name, WRITERS[name]
    path.parent.mkdir()
    with (
        small_disk(1000),
        pytest.raises(
            WriteError, match=r"cannot write to .*: file too large. What was there is kept"
        ),
    ):
        write(sample, path)
    assert list(path.parent.iterdir()) == []
    write(sample, path)
    before = path.read_bytes()
    assert len(before) > 1000
    with small_disk(1000), pytest.raises(WriteError, match="cannot write"):
        write(sample, path)
    assert path.read_bytes() == before
    assert names(path.parent) == [name]


@pytest.mark.long
@EVERY
def test_an_output_takes_the_place_of_its_own_kind_only(
    name: str, sample: str, tmp_path: Path
) -> None:
    path, write = tmp_path / name, WRITERS[name]
    for foreign in (
        b"the only copy",
        b"<!DOCTYPE html><p>mine",
        b"\x89PNG\r\n\x1a\n",
        b"sample;variable",
        b"%PDF-1.4",
    ):
        path.write_bytes(foreign)
        with pytest.raises(
            ArgumentError, match=r"exists and is not .*; it was not changed. Give another name"
        ):
            write(sample, path)
        assert path.read_bytes() == foreign
    path.write_bytes(b"")
    write(sample, path)
    write(sample, path)
    assert names(tmp_path) == [name]


@EVERY
def test_an_output_is_no_folder_no_url_and_in_no_sample(
    name: str, sample: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    inside = Path(sample, "phase", name)
    for path, said in (
        (tmp_path / name, "is a folder"),
        (f"s3://bucket/{name}", "is a URL"),
        (inside, "lies in the sa"),
    ):
        with pytest.raises(ArgumentError, match=said):
            WRITERS[name](sample, path)  # type: ignore[arg-type]
    assert not inside.exists()


@pytest.mark.long
def test_of_a_link_the_file_behind_it_is_replaced(sample: str, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "r.html").symlink_to(tmp_path / "web/report.html")
    tim3d.report(sample, tmp_path / "r.html")
    assert (tmp_path / "r.html").is_symlink()
    assert (tmp_path / "web/report.html").read_text().endswith("</html>\n")


@pytest.mark.parametrize(
    "line",
    [
        "report a.zarr mine",
        "describe a.zarr --csv mine",
        "study a.zarr --quantity phase_fraction --phase pore --windows 4 --figure mine.png",
        "study a.zarr --quantity phase_fraction --phase pore --windows 4 --figure mine.bmp",
        "measure a.zarr --overwrite --log mine",
        "train a.zarr mine --field phase --labels phase --overwrite",
        "import-generator a_Gen.pt mine --voxel-size 1,1,1",
    ],
)
def test_a_target_that_is_not_ours_is_refused_before_any_work(
    line: str,
    sample: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text("the only copy")
    Path("mine.png").write_text("the only copy")
    nodes = store.nodes(sample)
    assert main([word.replace("a.zarr", sample) for word in line.split()]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mine" in said
    assert Path("mine").read_text() == Path("mine.png").read_text() == "the only copy"
    assert names(Path()) == ["mine", "mine.png"]
    assert store.nodes(sample) == nodes


def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_one_is_left(
    tmp_path: Path,
) -> None:
    script = (
        "import sys, time, signal, os\nfrom tim3d.storage.outputs import replacing\n"
        "with replacing(sys.argv[1]) as file:\n file.write(b'half'); file.flush(); print('there', flush=True)\n"
        " os.kill(os.getpid(), signal.SIGKILL) if sys.argv[2] == 'die' else time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "r[1].html")]
    subprocess.run([*command, "die"], check=False, stdout=subprocess.PIPE)
    (dead,) = tmp_path.iterdir()
    with subprocess.Popen([*command, "live"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        outputs.write_file(
            tmp_path / "r[1].html", b"<!DOCTYPE html>Written by tim3d", outputs.REPORT
        )
        assert not dead.exists()
        assert len(list(tmp_path.iterdir())) == 2
        other.kill()


def test_a_journal_is_appended_to_journals_only(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the only copy")
    with pytest.raises(ArgumentError, match="is not a journal"), journal(tmp_path / "notes.txt"):
        pass
    assert (tmp_path / "notes.txt").read_text() == "the only copy"


def test_a_simulation_that_is_interrupted_is_finished_by_the_next(tmp_path: Path) -> None:
    how = {"shape": (33, 8, 8), "progress": False}
    simulate(tmp_path / "calm", **how)
    wanted = {
        p.relative_to(tmp_path / "calm"): p.read_bytes() for p in (tmp_path / "calm").rglob("*.t*")
    }
    simulate(tmp_path / "torn", **how)
    mark = (tmp_path / "torn/simulation.txt").read_text()
    (tmp_path / "torn/simulation.txt").write_text(mark.strip() + " unfinished\n")
    (tmp_path / "torn/truth/truth_00031.tif").unlink()
    (tmp_path / "torn/slices/.slice_00031.tif.0abc.partial").write_text("half")
    simulate(tmp_path / "torn", **how)
    found = {
        p.relative_to(tmp_path / "torn"): p.read_bytes()
        for p in (tmp_path / "torn").rglob("*")
        if p.is_file()
    }
    assert found == wanted
    for other in ({"seed": 1}, {"shape": (20, 8, 8)}):
        with pytest.raises(MixedRunError, match=r"another simulation\. Write to another folder"):
            simulate(tmp_path / "torn", **(how | other))


@pytest.mark.long
def test_a_training_that_starts_anew_keeps_the_old_model_until_it_has_a_new_one(
    tmp_path: Path,
) -> None:
    from tests.integration.test_train_lock import network

    command, model = network(tmp_path)
    assert main(command) == 0
    before = model.read_bytes()
    with small_disk(10_000):
        assert main([*command, "--seed", "1", "--overwrite"]) == 4
    assert model.read_bytes() == before
    assert read_weights(model, "segmentation")
