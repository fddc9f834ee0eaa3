"""Arguments that many commands share: how they run, and on what."""

from __future__ import annotations

import argparse
from typing import Any


def blocks(c: argparse.ArgumentParser) -> None:
    """Arguments of every command that works through blocks."""
    group = c.add_argument_group("how it runs (nothing here changes a number)")
    group.add_argument("--plan", action="store_true", help="say what it would cost, and do nothing")
    group.add_argument("--overwrite", action="store_true", help="replace what was made otherwise")
    group.add_argument("--block", metavar="Z,Y,X", help="voxels of a block: whole shards")
    group.add_argument("--durable", action="store_true", help="force each block to the disk, against loss of power")
    time_limit(group)
    cluster(group)


def whole(c: argparse.ArgumentParser) -> None:
    """Arguments of a command that works on a whole volume, shared out over workers if there are any."""
    group = c.add_argument_group("how it runs (nothing here changes a number)")
    group.add_argument("--plan", action="store_true", help="say what it would cost, and do nothing")
    group.add_argument("--overwrite", action="store_true", help="solve again")
    group.add_argument("--durable", action="store_true", help="force what is written to the disk")
    cluster(group)


def planned(c: argparse.ArgumentParser) -> None:
    """Argument of every command that can say what it would do."""
    c.add_argument("--plan", action="store_true", help="say what it would do, and do nothing")


def time_limit(group: argparse._ArgumentGroup) -> None:
    """How long a block may take."""
    group.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="a block that takes longer is tried again, then set aside"
    )


def cluster(group: Any) -> None:
    """What a command runs on."""
    group.add_argument(
        "--cluster", metavar="KIND", help="serial (default), local, cuda, slurm, or a dask scheduler's address"
    )
    group.add_argument("--workers", type=int, help="worker processes; with slurm, jobs")
    group.add_argument("--threads", type=int, help="threads per worker")
    group.add_argument("--memory", type=float, metavar="GIB", help="memory limit of a worker")
    group.add_argument("--site", metavar="FILE", help="with slurm: TOML file that describes a job (deploy/slurm)")
    group.add_argument("--tls", metavar="FOLDER", help="encrypt what workers say, by certificates in this folder")
    group.add_argument("--log", metavar="FILE", help="append a line of JSON for every block")
    group.add_argument("--pilot", metavar="FILE", help="with --plan: --log of a smaller run, to estimate the cost by")
    group.add_argument("--price", type=float, metavar="P", help="with --pilot: price of an hour of a worker")
