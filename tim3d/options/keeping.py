"""Arguments of recipes, and of the upkeep of samples, machines and clusters."""

from __future__ import annotations

import argparse

from tim3d.options import common


def run(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d run``."""
    c.add_argument("recipe")
    c.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="for example ingest.source=scan/*.tif"
    )
    c.add_argument("--plan", action="store_true", help="say what each step would cost, as far as it is known")
    c.add_argument("--overwrite", action="store_true")
    c.add_argument("--part", metavar="I/N", help="be part I of a job array of N processes, without a scheduler")
    c.add_argument(
        "--wait", dest="wait_minutes", type=float, metavar="MINUTES", help="of a part, while no block gets done (60)"
    )
    c.add_argument(
        "--trust", action="store_true", help="let the recipe name paths outside its folder, a scheduler, a site file"
    )
    common.cluster(c.add_argument_group("what it runs on, in place of [cluster] in the recipe"))


def show(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d show``."""
    c.add_argument("sample")


def validate(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d validate``."""
    c.add_argument("sample")
    c.add_argument("--deep", action="store_true", help="read every shard")
    c.add_argument("--repair", action="store_true", help="read every shard, and let what is damaged be made again")


def status(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d status``."""
    c.add_argument("sample")
    c.add_argument("--json", action="store_true", help="for machines")


def doctor(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d doctor``."""
    c.add_argument("folder", nargs="?", help="folder or URL where samples will lie: space, speed, locks")
    c.add_argument("--cluster", metavar="ADDRESS", help="a dask scheduler that should answer: tcp://host:8786")
    c.add_argument("--tls", metavar="FOLDER", help="certificates of that scheduler")


def certificates(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d certificates``."""
    c.add_argument("folder", help="on a disk that all members of the cluster see")
    c.add_argument("--days", type=int, help="how long they are valid (default 365)")
