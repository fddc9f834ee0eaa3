"""The site file of a Slurm cluster: what is refused, and the job script that comes out."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.slurm import need_jobqueue
from tim3d.cli import main
from tim3d.engine import cluster
from tim3d.engine.clusters import slurm
from tim3d.engine.clusters.slurm import Site, load_site
from tim3d.errors import ArgumentError, DeviceError

DEPLOY = Path(__file__).parents[2] / "deploy" / "slurm"
RECIPE = 'sample = "a.zarr"\n[[step]]\nverb = "simulate"\nfolder = "stack"\n'


def script(site: Site) -> str:
    need_jobqueue()
    job = slurm.job_cluster().job_cls("tcp://10.0.0.1:8786", name="w", **slurm.job_arguments(site))
    return str(job.job_script())


def test_a_job_on_cpu_nodes(tmp_path: Path) -> None:
    site = load_site(
        DEPLOY / "cpu.toml",
        {"logs": str(tmp_path), "modules": ["python/3.11"], "prologue": "ulimit -n 4096"},
    )
    lines = script(site).splitlines()
    for line in ("-p cpu", "-A my-group", "--cpus-per-task=16", "--mem=64G", "-t 04:00:00"):
        assert f"#SBATCH {line}" in lines
    assert lines.index("module load python/3.11") < lines.index("ulimit -n 4096") < len(lines) - 1
    assert "export DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION=14100s" in lines
    assert f"export MALLOC_TRIM_THRESHOLD_={64 * 2**20}" in lines  # dask's own is 64 KiB
    command = lines[-1]
    assert command.startswith(
        f"{sys.executable} -m distributed.cli.dask_worker tcp://10.0.0.1:8786"
    )
    for words in ("--nworkers 16", "--nthreads 1", "--memory-limit 4.00GiB", "--interface eth0"):
        assert words in command


def test_a_job_on_gpu_nodes_starts_a_worker_for_each_gpu(tmp_path: Path) -> None:
    site = load_site(
        DEPLOY / "gpu.toml", {"logs": str(tmp_path), "python": "apptainer exec --nv a.sif python"}
    )
    text = script(site)
    assert "#SBATCH --gres=gpu:2\n" in text
    assert "apptainer exec --nv a.sif python -m dask cuda worker tcp://10.0.0.1:8786" in text
    assert "--nthreads 8" in text
    assert (
        "--lifetime" not in text
    )  # dask-cuda's command has no such option: it goes by the environment
    assert (site.workers_per_job, site.threads, slurm.worker_memory(site)) == (2, 8, 64 * 2**30)


def test_own_directives_for_gpus_take_the_place_of_ours() -> None:
    site = Site("lo", gpus=1, directives=("--gpus-per-node=a100:1",))
    assert slurm.job_arguments(site)["job_extra_directives"] == ["--gpus-per-node=a100:1"]


# Of each key another value than the usual one, and what the job is started with then.
OF_A_JOB: dict[str, tuple[Any, str, Any]] = {
    "interface": ("eth3", "interface", "eth3"),
    "worker_interface": ("ib0", "interface", "ib0"),
    "partition": ("short", "queue", "short"),
    "account": ("me", "account", "me"),
    "walltime": ("02:00:00", "walltime", "02:00:00"),
    "cores": (8, "cores", 8),
    "memory": ("9GiB", "memory", "9GiB"),
    "processes": (2, "processes", 2),
    "modules": (("python",), "job_script_prologue", "module load python"),
    "prologue": (("ulimit -n 9",), "job_script_prologue", "ulimit -n 9"),
    "directives": (("--nice",), "job_extra_directives", "--nice"),
    "worker_arguments": (("--nanny",), "worker_extra_args", "--nanny"),
    "python": ("/opt/python", "python", "/opt/python"),
    "logs": ("here", "log_directory", "here"),
    "scratch": ("/scratch", "local_directory", "/scratch"),
    "gpus": (4, "worker_command", "dask cuda worker"),
}


def test_every_key_of_a_site_file_is_one_of_a_job_or_of_the_cluster() -> None:
    of_the_cluster = {"jobs", "minimum_jobs", "start_minutes", "tls"}
    assert {one.name for one in fields(Site)} == {*OF_A_JOB, *of_the_cluster}


@pytest.mark.parametrize("key", OF_A_JOB)
def test_a_key_of_a_site_file_reaches_its_job(key: str) -> None:
    value, where, expected = OF_A_JOB[key]
    usual = Site("eth0", cores=4)
    before, after = (slurm.job_arguments(one) for one in (usual, replace(usual, **{key: value})))
    found = after[where]
    assert expected in found if isinstance(found, list) else expected == found
    assert before.get(where) != found


@pytest.mark.parametrize(
    ("wall", "lifetime", "stagger"), [(3600, 3300, 150), (600, 450, 75), (60, 45, 7)]
)
def test_a_worker_ends_five_minutes_before_its_job_or_after_three_quarters_of_it(
    wall: int, lifetime: int, stagger: int
) -> None:
    assert Site("lo", walltime=f"0:{wall // 60:02d}:{wall % 60:02d}").lifetime == (
        lifetime,
        stagger,
    )


@pytest.mark.parametrize("walltime", ["00:01:00", "00:10:00", "01:00:00", "2-00:00:00"])
def test_workers_end_before_their_job(walltime: str) -> None:
    lifetime, stagger = Site("lo", walltime=walltime).lifetime
    assert 0 < lifetime + stagger < slurm.seconds(walltime)


BAD = {
    "partitoin = 'cpu'": "did you mean 'partition'?",
    "cores = 'many'": "cores is 'many'; write a whole number",
    "cores = true": "cores is True",
    "cores = 0": "at least 1",
    "cores = 5\nprocesses = 2": "cores = 4",
    "gpus = 2\nprocesses = 4\ncores = 4": "leave processes out",
    "memory = 'much'": "memory 'much' cannot be read",
    "walltime = '1h'": "write HH:MM:SS",
    "walltime = '00:00:10'": "less than a minute",
    "prologue = 3": "write a list of strings",
    "minimum_jobs = 3": "expected 0 to jobs, which is 1",
    "partition = 'a\\nb'\n": "one line of text",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_site_file_ends_with_2_and_says_why(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(RECIPE)
    Path("s.toml").write_text('interface = "lo"\n' + text.replace("'", '"'))
    assert main.main(["run", "r.toml", "--cluster", "slurm", "--site", "s.toml"]) == 2
    said = capsys.readouterr().err
    assert "site file s.toml" in said or "walltime" in said
    assert BAD[text] in said


def test_without_an_interface_those_of_this_machine_are_named() -> None:
    with pytest.raises(ArgumentError, match=r"interface = 'eth0'. Here are: .*lo"):
        load_site(None, {"partition": "cpu"})


def test_an_interface_that_is_not_here_is_refused_before_anything_listens() -> None:
    with pytest.raises(ArgumentError, match=r"has no network interface 'eth77'; it has .*lo"):
        slurm.listening_options(Site("eth77"))


def test_scheduler_and_dashboard_listen_on_the_named_interface_only() -> None:
    assert slurm.listening_options(Site("lo")) == {
        "interface": "lo",
        "dashboard_address": "127.0.0.1:0",
    }


def test_a_missing_file_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(RECIPE)
    assert main.main(["run", "r.toml", "--cluster", "slurm", "--site", "none.toml"]) == 3
    assert "no site file at none.toml" in capsys.readouterr().err


def test_a_missing_package_ends_with_7_and_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "dask_jobqueue.slurm", None)
    Path("r.toml").write_text(RECIPE)
    Path("s.toml").write_text('interface = "lo"\n')
    assert main.main(["run", "r.toml", "--cluster", "slurm", "--site", "s.toml"]) == 7
    assert "pip install 'tim3d[hpc]'" in capsys.readouterr().err


def test_a_machine_without_slurm_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need_jobqueue()
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(DeviceError, match="no command sbatch here"),
        cluster("slurm", interface="lo"),
    ):
        pass


def test_ctrl_c_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """dask-jobqueue makes it end the program with exit code 0, as if all were done."""
    need_jobqueue()
    for name in [name for name in sys.modules if name.startswith("dask_jobqueue")]:
        monkeypatch.delitem(sys.modules, name)
    before = signal.getsignal(signal.SIGINT)
    slurm.job_cluster()
    assert signal.getsignal(signal.SIGINT) is before
    assert "dask_jobqueue.slurm" in sys.modules


def test_what_belongs_to_the_site_file_is_refused_elsewhere() -> None:
    with (
        pytest.raises(ArgumentError, match="'partition' goes with cluster 'slurm'"),
        cluster("serial", partition="a"),
    ):
        pass
    with (
        pytest.raises(ArgumentError, match="threads and memory are in the site file"),
        cluster("slurm", threads=2, interface="lo"),
    ):
        pass


@pytest.mark.parametrize("name", ["recipe.sbatch", "array.sbatch"])
def test_the_batch_scripts_are_clean(name: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", str(DEPLOY / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["recipe.sbatch", "array.sbatch"])
def test_the_batch_scripts_say_how_they_are_used(name: str) -> None:
    done = subprocess.run(["bash", str(DEPLOY / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:6]) == (2, "usage:")
