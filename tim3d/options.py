"""Arguments of the commands that have many, as `tim3d.cli` gives them to their parsers."""

from __future__ import annotations

import argparse
from typing import Any


def train(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d train``."""
    c.add_argument("sample")
    c.add_argument("model", help="file to write, for example unet.safetensors")
    c.add_argument("--field")
    c.add_argument("--labels", help="label field (default annotation)")
    c.add_argument("--slices", metavar="A:B", help="use only these slices")
    c.add_argument("--every", type=int, help="use every n-th slice")
    c.add_argument("--architecture")
    c.add_argument("--encoder")
    c.add_argument("--depth", type=int)
    c.add_argument("--decoder-channels", metavar="N,N,...")
    c.add_argument("--context", type=int, help="neighbouring slices on each side given as channels")
    c.add_argument("--norm", choices=("batch", "instance"))
    c.add_argument("--epochs", type=int)
    c.add_argument("--steps", type=int, help="batches per epoch")
    c.add_argument("--batch", type=int)
    c.add_argument("--crop", type=int, help="edge of a training crop in pixels")
    c.add_argument("--learning-rate", type=float)
    c.add_argument("--patience", type=int, help="epochs without gain before it stops")
    c.add_argument("--validation-fraction", type=float)
    c.add_argument("--seed", type=int)
    c.add_argument("--device", choices=("auto", "cpu", "cuda"))
    c.add_argument("--overwrite", action="store_true", default=None, help="forget an earlier training")


def study(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d study``."""
    c.add_argument("sample")
    c.add_argument("--quantity", required=True, help="phase_fraction, tortuosity_factor, effective_conductivity ...")
    c.add_argument("--windows", metavar="N,N,...", help="edges in voxels (of the shortest edge), for example 64,96,128")
    c.add_argument("--windows-nm", metavar="L,L,...", help="edges in nm instead")
    c.add_argument("--phase", help="of which the quantity is, or which alone conducts")
    c.add_argument("--conductivity", metavar="NAME=K,...", help="of every phase; 0 for an insulator")
    c.add_argument("--field")
    c.add_argument("--axis", choices=tuple("zyx"), help="of the flux (default z)")
    c.add_argument("--tolerance", type=float, help="relative, for 2 s.d. / mean and for the mean (default 0.1)")
    c.add_argument("--flux-tolerance", type=float, help="difference of the flux between planes (default 1e-3)")
    c.add_argument("--units", help="of the conductivities (default W m-1 K-1)")
    c.add_argument("--faces", choices=("outer", "centres"), help="where the potential is held (default outer)")
    c.add_argument("--sides", choices=("insulated", "periodic"), help="the other four faces (default insulated)")
    c.add_argument("--interface", metavar="A:B=H,...", help="conductance per area between two phases, W m-2 K-1")
    c.add_argument("--out", help="name of the result (default FIELD_study)")
    c.add_argument("--figure", metavar="FILE", help="write the figure too, for example study.png")


def fidelity(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d fidelity``."""
    c.add_argument("sample", help="a generated volume; the result is kept in it")
    c.add_argument("volumes", nargs="*", help="more volumes of the same generator: eight in all tell the spread")
    c.add_argument(
        "--micrograph", nargs="+", required=True, metavar="IMAGE", help="one, or three: across z, across y, across x"
    )
    c.add_argument("--phases", metavar="NAME=VALUE,...", required=True, help="value of each phase in the image")
    c.add_argument("--pixel-size", metavar="NM[,NM]", help="of the image, before --scale (default: its metadata)")
    c.add_argument("--as-voxels", action="store_true", default=None, help="take a pixel to be as large as a voxel")
    c.add_argument("--scale", type=int, metavar="N", help="make the image N times smaller first")
    c.add_argument("--field")
    c.add_argument("--lags", metavar="N,N,...", help="in voxels (default 1,2,4,6,8,12,16,24,32,48)")
    c.add_argument("--lags-nm", metavar="L,L,...", help="in nm instead")
    c.add_argument(
        "--slices", type=int, metavar="N", help="across each axis, for geodesic tortuosity (default 8; 0: none)"
    )
    c.add_argument("--period", type=int, metavar="N", help="of the generator's lattice (default: a network's own)")
    c.add_argument(
        "--seam", type=int, metavar="N", help="edge of the chunks (default: a network's tile, shard or chunk)"
    )
    c.add_argument("--seed", type=int, help="of the bootstrap")
    c.add_argument("--out", help="name of the result (default FIELD_fidelity)")
    c.add_argument("--figure", metavar="FILE", help="write the figure of the curves too, for example fidelity.png")


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


def run(command: argparse.ArgumentParser) -> None:
    """How a recipe is shared out."""
    command.add_argument("--part", metavar="I/N", help="be part I of a job array of N processes, without a scheduler")
    command.add_argument(
        "--wait", dest="wait_minutes", type=float, metavar="MINUTES", help="of a part, while no block gets done (60)"
    )
    command.add_argument(
        "--trust", action="store_true", help="let the recipe name paths outside its folder, a scheduler, a site file"
    )
    cluster(command.add_argument_group("what it runs on, in place of [cluster] in the recipe"))


def generate(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d generate``."""
    c.add_argument("sample")
    c.add_argument("--kind", required=True, choices=("field", "overlapping", "hard-core", "packed", "network"))
    c.add_argument("--shape", metavar="Z,Y,X", required=True, help="voxels of the volume")
    c.add_argument("--voxel-size", metavar="Z,Y,X", help="in nm (default of a network: that of its training)")
    c.add_argument("--seed", type=int)
    c.add_argument("--periodic", action="store_true", default=None, help="the volume continues itself across its faces")
    c.add_argument("--fractions", metavar="NAME=F,...", help="of a field: share of every phase")
    c.add_argument("--correlation-nm", metavar="L[,L,L]", help="of a field: where its correlation falls to 1/e")
    c.add_argument("--s2", metavar="FILE", help="of a field, instead: rows of distance in nm, S2 of the first phase")
    c.add_argument("--loading", type=float, help="of grains: share of the volume")
    c.add_argument("--phases", metavar="NAME=CODE,...", help="of grains: default matrix=0,filler=1")
    c.add_argument("--diameter-nm", type=float, help="of grains: median")
    c.add_argument("--spread", type=float, help="of grains: standard deviation of ln diameter (default 0)")
    c.add_argument("--sizes", metavar="D=N,...", help="of grains, instead: diameters in nm and how many have each")
    c.add_argument("--aspect", type=float, help="of grains: polar over equatorial axis (default 1)")
    c.add_argument("--orientation", metavar="Z,Y,X", help="of grains: weights of the polar axis (default 1,1,1)")
    c.add_argument("--cell-nm", metavar="Z,Y,X", help="of packed grains: what is repeated (default the volume)")
    c.add_argument("--weights", metavar="FILE", help="of a network: what tim3d train-generator wrote")
    c.add_argument("--precision", choices=("float32", "bfloat16", "float16"), help="of a network (default float32)")
    c.add_argument("--tile", type=int, help="of a network: edge of what it computes at a time (about 128, on CUDA 256)")
    c.add_argument("--device", help="of a network: auto, cpu, cuda, cuda:1")
    c.add_argument("--out", help="name of the field (default phase; raw of a network of grey values)")
    c.add_argument("--shard", metavar="Z,Y,X", help="edges of a shard (default 64,512,512)")


def time_limit(group: argparse._ArgumentGroup) -> None:
    """How long a block may take."""
    group.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="a block that takes longer is tried again, then set aside"
    )


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
    c.add_argument("folder", nargs="?", help="where samples will lie: its space and speed are measured")
    c.add_argument("--cluster", metavar="ADDRESS", help="a dask scheduler that should answer: tcp://host:8786")
    c.add_argument("--tls", metavar="FOLDER", help="certificates of that scheduler")


def certificates(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d certificates``."""
    c.add_argument("folder", help="on a disk that all members of the cluster see")
    c.add_argument("--days", type=int, help="how long they are valid (default 365)")


UPKEEP = {
    "validate": ("check a sample against the data model", validate),
    "status": ("how far the passes of a sample are, and who writes to it", status),
    "doctor": ("is this machine fit? versions, memory, devices, disk, cluster", doctor),
    "certificates": ("make what an encrypted cluster needs", certificates),
}
