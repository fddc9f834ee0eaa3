"""Progress of the passes of a sample, from the files beside it only: during a run or after it.

Rates come from differences between the times of markers, so that clocks need not agree; only ages
compare the store's clock with this machine's.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tim3d.engine.state.gathered import GATHERED, gathered_at
from tim3d.engine.state.ledger import known, read, runs_folder
from tim3d.engine.state.owner import LEASE_SECONDS, process_start
from tim3d.errors import InputError
from tim3d.storage.files import file_system, is_local, is_there, modified_at

WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class PassStatus:
    """One pass under one fingerprint.

    Attributes
    ----------
    rate : float or None
        Blocks per second in the minute before the last marker; None with fewer than two markers in
        it.
    seconds_left : float or None
        Time for the remaining blocks at that rate; None if the rate is unknown or no block is left.
    last_age : float or None
        Seconds since the last marker.
    reasons : dict
        Last line of the reason of every block that was set aside, by its index ``z,y,x``.
    """

    name: str
    fingerprint: str
    blocks: int
    done: int
    failed: int
    left: int
    rate: float | None
    seconds_left: float | None
    last_age: float | None
    reasons: dict[str, str]

    def __str__(self) -> str:
        parts = [
            f"{self.name}: {self.done} of {self.blocks} blocks done, {self.left} left, {self.failed} failed"
        ]
        parts += [f"{self.rate:.3g} blocks/s"] if self.rate else []
        parts += (
            [f"about {_duration(self.seconds_left)} left"] if self.seconds_left is not None else []
        )
        parts += [f"last block {_duration(self.last_age)} ago"] if self.last_age is not None else []
        return "; ".join(parts) + "".join(
            f"\n    block {place}: {why}" for place, why in self.reasons.items()
        )


@dataclass(frozen=True)
class Holder:
    """Owner of a lock, and whether it is alive.

    Attributes
    ----------
    age : float
        Seconds since its lease was last renewed (every 5 s; after 60 s another machine may take
        over).
    alive : bool
        Whether the process runs (on this machine), or the lease has not expired (on another).
    """

    lock: str
    host: str
    pid: int
    age: float
    alive: bool

    def __str__(self) -> str:
        state = "" if self.alive else "; it is gone, and the next run takes over"
        return f"{self.lock}: process {self.pid} on {self.host}, renewed {_duration(self.age)} ago{state}"


@dataclass(frozen=True)
class Status:
    """All passes that left markers, the earliest first, and the holders of locks."""

    sample: str
    passes: tuple[PassStatus, ...]
    holders: tuple[Holder, ...]

    def as_json(self) -> str:
        """The status as JSON."""
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        lines = [
            self.sample,
            *map(str, self.holders or ("no process writes to it",)),
            *self._lines(),
        ]
        return "\n  ".join(lines if self.passes else [*lines, "no pass has left markers beside it"])

    def _lines(self) -> Iterator[str]:
        """A line for each pass; those of a name that were begun before the last, only if they are unfinished."""
        last = {one.name: place for place, one in enumerate(self.passes)}
        for place, one in enumerate(self.passes):
            if place == last[one.name]:
                yield str(one)
            elif one.left or one.failed:
                yield f"{one}; begun again since, from other inputs or with other arguments"


def status(sample: str) -> Status:
    """Progress of the passes of a sample.

    Parameters
    ----------
    sample : str
        Path or URL. Nothing is written, and no voxel is read.

    Returns
    -------
    Status
        Blocks done, left and set aside in every pass; blocks per second and seconds left; holders
        of locks.

    Raises
    ------
    InputError
        If there is neither a sample nor a trace of a run.

    Examples
    --------
    >>> status("nowhere.zarr")
    Traceback (most recent call last):
    ...
    tim3d.errors.InputError: no sample at nowhere.zarr, and no run has begun one
    """
    if not is_there(sample) and not is_there(runs_folder(sample)):
        raise InputError(f"no sample at {sample}, and no run has begun one")
    root, now = runs_folder(sample), time.time()
    files = dict(_listing(root))
    ledgers = sorted(
        {name.removesuffix("/layout.json") for name in files if name.endswith("/layout.json")}
    )
    times: dict[str, list[float]] = {}
    failed: dict[str, list[str]] = {}
    together: dict[str, float] = {}
    for name, when in files.items():
        if name.endswith(f"/{GATHERED}"):
            together[name.removesuffix(f"/{GATHERED}")] = when
            continue
        folder, *place = name.rsplit("/", 4)
        if len(place) == 4 and place[0] == "done":
            times.setdefault(folder, []).append(when)
        elif len(place) == 4 and place[0] == "failed":
            failed.setdefault(folder, []).append(name)
    begun = {ledger: files[f"{ledger}/layout.json"] for ledger in ledgers}
    for ledger, when in together.items():
        found = gathered_at(f"{root}/{ledger}/{GATHERED}")
        times.setdefault(ledger, []).extend([when] * (len(found.keys) if found else 0))
    made = [
        _of_pass(root, ledger, times.get(ledger, []), failed.get(ledger, []), now)
        for ledger in sorted(ledgers, key=begun.__getitem__)
    ]
    locks = sorted(
        name for name in files if name == "lock" or ("/" not in name and name.endswith(".lock"))
    )
    return Status(sample, tuple(made), tuple(_holders(root, locks, files, now)))


def _of_pass(
    root: str, ledger: str, times: list[float], failed: list[str], now: float
) -> PassStatus:
    layout = known(f"{root}/{ledger}/layout.json") or {"shape": [0], "block": [1]}
    blocks = layout.get("blocks") or math.prod(
        -(-n // b) for n, b in zip(layout["shape"], layout["block"], strict=True)
    )
    name, _, fingerprint = ledger.rpartition("/")
    blocks = max(blocks, len(times))  # passes of several sweeps stack their blocks
    rate, left = _rate(times), blocks - len(times) - len(failed)
    return PassStatus(
        name=name,
        fingerprint=fingerprint,
        blocks=blocks,
        done=len(times),
        failed=len(failed),
        left=left,
        rate=rate,
        seconds_left=left / rate if rate and left else None,
        last_age=max(0.0, now - max(times)) if times else None,
        reasons={_place(marker): _reason(f"{root}/{marker}") for marker in sorted(failed)},
    )


def _rate(times: list[float]) -> float | None:
    """Blocks per second in the minute that ends with the last marker.

    >>> _rate([0.0, 100.0, 101.0, 102.0, 104.0])
    0.75
    """
    last = max(times, default=0.0)
    recent = [t for t in times if t > last - WINDOW_SECONDS]
    span = max(recent) - min(recent) if recent else 0.0
    return (len(recent) - 1) / span if span > 0 else None


def _place(marker: str) -> str:
    return ",".join(marker.removesuffix(".json").split("/")[-3:])


def _reason(marker: str) -> str:
    lines = str((known(marker) or {}).get("reason", "unknown")).strip().splitlines()
    return lines[-1] if lines else "unknown"


def _holders(root: str, locks: list[str], files: dict[str, float], now: float) -> Iterator[Holder]:
    for name in locks:
        try:
            owner = read(f"{root}/{name}")
        except json.JSONDecodeError:  # it is being written
            continue
        if owner:
            age, host, pid = (
                max(0.0, now - files[name]),
                str(owner.get("host")),
                int(owner.get("pid", 0)),
            )
            here = host == socket.gethostname()
            alive = process_start(pid) == owner.get("started") if here else age <= LEASE_SECONDS
            yield Holder(name, host, pid, round(age, 1), alive)


def _listing(root: str) -> Iterator[tuple[str, float]]:
    """Every file below a folder, relative to it, and when it was written."""
    if is_local(root):
        yield from _local_listing(root, "")
        return
    fs, path = file_system(root)
    if hasattr(fs, "_construct_store"):  # its file system omits the times
        bucket, prefix = fs._split_path(path)
        for entry in itertools.chain.from_iterable(fs._construct_store(bucket).list(prefix)):
            yield entry["path"].removeprefix(prefix.strip("/") + "/"), modified_at(entry)
    elif fs.exists(path):
        for name, entry in fs.find(path, detail=True).items():
            yield name.split(path.strip("/") + "/", 1)[-1], modified_at(entry)


def _local_listing(folder: str, below: str) -> Iterator[tuple[str, float]]:
    try:
        with os.scandir(Path(folder)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _local_listing(entry.path, f"{below}{entry.name}/")
                elif not entry.name.startswith("."):
                    yield f"{below}{entry.name}", entry.stat().st_mtime
    except FileNotFoundError:  # the folder changes during the listing
        return


def _duration(seconds: float) -> str:
    """Duration in two units at most.

    >>> [_duration(s) for s in (0.4, 75, 7300, 200_000)]
    ['0 s', '1 min 15 s', '2 h 1 min', '2 d 7 h']
    """
    units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]
    whole = int(seconds)
    for (large, many), (small, few) in itertools.pairwise(units):
        if whole >= many:
            rest = whole % many // few
            return f"{whole // many} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
