"""Kill commands at random moments, type them again until they end, and compare with commands that nobody killed.

    python -m tests.kill_commands FOLDER --kills 100

Every command of `COMMANDS` is begun in a folder of its own, beside an untouched one. It is killed
with SIGKILL so many times, at moments spread over the time that it takes; then it is left to end.
In the end both folders hold the same bytes, but for times, and nothing half written.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tim3d
from tests.diffusers import saved
from tests.flips import CONDUCTS, PHASES, QUIET, SIZE
from tests.micrographs import blobs

CONDUCTIVITY = ",".join(f"{name}={value}" for name, value in CONDUCTS.items())
TINY = "--depth 2 --epochs 3 --steps 2 --batch 1 --crop 32 --encoder mobilenet_v2"
COMMANDS = {
    "study": "study a.zarr --quantity tortuosity_factor --phase pore --windows 8,12 --figure study.png",
    "geodesic": "geodesic a.zarr --phases pore --keep",
    "solve": f"solve a.zarr --conductivity {CONDUCTIVITY} --axis z,y --keep-potential --checkpoint 0.1",
    "generate": "generate g.zarr --kind field --correlation-nm 40 --fractions pore=0.4,solid=0.6 --shape 32,64,64 "
    "--voxel-size 5,5,5 --shard 8,64,64",
    "generate-guided": "generate d.zarr --kind diffusion --weights volumes-0.safetensors --shape 16,24,16 --steps 5 "
    "--seed 3 --tile 16 --shard 8,8,8 --device cpu --target phase_fraction=0.45,conductivity=2.8 "
    "--conductivity pore=0.5,solid=8 --block 16,16,16",
    "report": "report a.zarr report.html --truth phase",
    "train": f"train a.zarr net.safetensors --labels phase {TINY}",
    "train-generator": "train-generator image.npy --out gan --phases pore=0,solid=1 --pixel-size 5 --preset demo "
    "--steps 4 --every 2 --batch 1 --slices 1 --critic-steps 1 --device cpu",
    "train-cgan": "train-cgan image.npy denser.npy --out cgan --phases pore=0,solid=1 --pixel-size 5 --conditions "
    "heats.csv --widths 8,8 --critic-widths 8,8 --steps 6 --every 2 --batch 2 --crop 16 --device cpu",
}
# When something was made: what two runs never share.
_TIMES = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\+00:00| UTC)?")


@dataclass
class Count:
    """Kills, and starts, of one command."""

    kills: int = 0
    starts: int = 0


def prepare(folder: Path) -> None:
    """A sample of grey values and labels, and a micrograph."""
    folder.mkdir(parents=True)
    labels = np.stack([blobs(40, 1.5, seed=seed) for seed in range(24)]).astype(np.uint8)
    grey = (150 * labels + np.random.default_rng(0).integers(0, 90, labels.shape)).astype(np.uint8)
    for name, values, phases in (("raw", grey, None), ("phase", labels, PHASES)):
        np.save(folder / f"{name}.npy", values)
        sample = str(folder / "a.zarr")
        tim3d.ingest(
            folder / f"{name}.npy",
            sample,
            voxel_size=SIZE,
            field=name,
            phases=phases,
            options=QUIET,
        )
    tim3d.measure(str(folder / "a.zarr"), options=QUIET)
    np.save(folder / "image.npy", blobs(96, 1.2).astype(np.uint8))
    np.save(folder / "denser.npy", blobs(96, 1.2, 0.6, seed=1).astype(np.uint8))
    (folder / "heats.csv").write_text("file,heat\nimage.npy,200\ndenser.npy,300\n")
    saved(folder, "volumes")


def run(folder: Path, command: str, seconds: float | None = None) -> bool:
    """Type a command; kill it after some seconds. Whether it ended by itself, and then well."""
    line = [sys.executable, "-m", "tim3d", *command.split(), "--quiet"]
    with subprocess.Popen(
        line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return False
    assert process.returncode == 0, f"{command}: {process.returncode}\n{said.decode()}"
    return True


def bytes_of(folder: Path) -> dict[str, Any]:
    """Every file but the markers, without the times in them."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if ".runs/" not in name:
            found[name] = _timeless(path.read_bytes())
    return found


def _timeless(data: bytes) -> bytes:
    """Times, and the checksums that were made over them, as if they were all one."""
    if data.lstrip().startswith(b"{") and b'"tim3d"' in data:
        node = json.loads(data)
        record = node.get("attributes", {}).get("tim3d", {})
        record.pop("created", None)
        record.get("digests", {}).pop("/", None)
        return json.dumps(node, sort_keys=True).encode()
    return _TIMES.sub(b"TIME", data)


def kill(folder: Path, name: str, kills: int, rng: random.Random) -> Count:
    """Begin one command in a copy of a prepared folder, kill it, let it end, and compare with an untouched run."""
    command, count = COMMANDS[name], Count()
    for one in ("calm", "killed"):
        shutil.copytree(folder / "prepared", folder / one)
    takes = _seconds(folder / "calm", command)
    while count.kills < kills:
        count.starts += 1
        # A process begins with a second or two of imports, in which there is nothing to lose.
        began = time.monotonic()
        ended = run(folder / "killed", command, rng.uniform(0.3, 1.1) * takes)
        count.kills += not ended
        if ended:  # what the first one compiled is in a cache
            takes = min(takes, time.monotonic() - began)
            _compare(folder, name)
            _begin_again(folder, name)
    run(folder / "killed", command)
    _compare(folder, name)
    for one in ("calm", "killed"):
        shutil.rmtree(folder / one)
    return count


def _seconds(folder: Path, command: str) -> float:
    began = time.monotonic()
    run(folder, command)
    return time.monotonic() - began


def _compare(folder: Path, name: str) -> None:
    """The same files, with the same bytes."""
    calm, killed = bytes_of(folder / "calm"), bytes_of(folder / "killed")
    assert killed.keys() == calm.keys(), f"{name}: {sorted(killed.keys() ^ calm.keys())}"
    assert [one for one in calm if calm[one] != killed[one]] == [], name


def _begin_again(folder: Path, name: str) -> None:
    """The next kill needs something to be done; a report is always written anew."""
    if name != "report":
        shutil.rmtree(folder / "killed")
        shutil.copytree(folder / "prepared", folder / "killed")


def check(folder: Path, kills: int, seed: int, names: list[str]) -> dict[str, Count]:
    """Kill each of some commands its share of the kills."""
    rng, counts = random.Random(seed), {}
    prepare(folder / "prepared")
    for place, name in enumerate(names):
        share = kills // len(names) + (place < kills % len(names))
        counts[name] = kill(folder, name, share, rng)
        print(
            f"{name}: {counts[name].kills} kills in {counts[name].starts} starts, the same bytes",
            flush=True,
        )
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS))
    given = parser.parse_args()
    check(given.folder, given.kills, given.seed, given.only)
