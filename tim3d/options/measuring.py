"""Arguments of the verbs that measure fields and show what came out."""

from __future__ import annotations

import argparse

from tim3d.options import common


def label(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d label``."""
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--phases", metavar="NAME,...", help="default: all")
    c.add_argument("--connectivity", type=int, choices=(6, 18, 26), help="neighbours share faces, edges, corners")
    c.add_argument("--keep", action="store_true", default=None, help="write the component of every voxel too")
    c.add_argument("--component", metavar="NAME", help="of that field (default component)")
    c.add_argument("--out", metavar="NAME", help="node of the results (default FIELD_components...)")
    common.blocks(c)


def measure(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d measure``."""
    c.add_argument("sample")
    c.add_argument("--descriptors", metavar="NAME,...", help="default: all")
    c.add_argument("--field")
    common.blocks(c)


def solve(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d solve``."""
    c.add_argument("sample")
    c.add_argument("--conductivity", metavar="NAME=K,...", required=True, help="of every phase, K or KZ:KY:KX; 0: none")
    c.add_argument("--axis", metavar="A,...", help="z (default), y, x, or several")
    c.add_argument("--field")
    c.add_argument("--faces", choices=("outer", "centres"), help="where the potential is held (default outer)")
    c.add_argument("--sides", choices=("insulated", "periodic"), help="the other four faces (default insulated)")
    c.add_argument("--cell", action="store_true", default=None, help="periodic along all axes: the conductivity tensor")
    c.add_argument("--interface", metavar="A:B=H,...", help="conductance per area between two phases, W m-2 K-1")
    c.add_argument("--contact", metavar="H[,H]", help="conductance per area of the low and the high face, W m-2 K-1")
    c.add_argument("--tolerance", type=float, help="difference of the flux between planes (default 1e-3)")
    c.add_argument("--richardson", action="store_true", default=None, help="solve every second voxel too, extrapolate")
    c.add_argument("--keep-potential", action="store_true", default=None, help="write the potential as a field")
    c.add_argument("--keep-flux", action="store_true", default=None, help="write the map of bottlenecks; statistics")
    c.add_argument("--units", help="of the conductivities (default W m-1 K-1)")
    c.add_argument("--out", metavar="NAME", help="node of the results (default FIELD_transport_...)")
    c.add_argument("--checkpoint", type=float, metavar="SECONDS", help="time between two checkpoints (default 300)")
    c.add_argument("--device", help="cpu, cuda, ... (default: the GPUs of cluster cuda, else cpu)")
    common.whole(c)


def geodesic(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d geodesic``."""
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--phases", metavar="NAME,...", help="to travel through (default: all)")
    c.add_argument("--directions", metavar="D,...", help="write --directions=+z,-z (default: +z,-z,+y,-y,+x,-x)")
    c.add_argument("--metric", help="eikonal (default) or graph26")
    c.add_argument("--seeds", metavar="FIELD,PHASE", help="start from these voxels instead of from the faces")
    c.add_argument("--keep", action="store_true", default=None, help="write the distances as fields too")
    c.add_argument("--richardson", action="store_true", default=None, help="every second voxel too, extrapolate")
    c.add_argument("--out", metavar="NAME", help="node of the results (default FIELD_geodesic...)")
    common.blocks(c)


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
    c.add_argument("--out", help="name of the result (default FIELD_study_...)")
    c.add_argument("--figure", metavar="FILE", help="write the figure too, for example study.png")
    common.whole(c)


def fidelity(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d fidelity``."""
    c.add_argument("sample", help="a generated volume; the result is kept in it")
    c.add_argument("volumes", nargs="*", help="more volumes of the same generator: eight in all tell the spread")
    c.add_argument(
        "--micrograph", nargs="+", required=True, metavar="IMAGE", help="one, or three: across z, across y, across x"
    )
    c.add_argument("--phases", metavar="NAME=VALUE,...", help="value of each phase in the image; else grey is compared")
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
    c.add_argument("--out", help="name of the result (default FIELD_fidelity_...)")
    c.add_argument("--figure", metavar="FILE", help="write the figure of the curves too, for example fidelity.png")
    common.blocks(c)


def describe(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d describe``."""
    c.add_argument("sample", nargs="+")
    c.add_argument("--descriptors", metavar="NAME,...")
    c.add_argument("--field")
    c.add_argument("--transport", metavar="NAME", help="node of solve's results that is meant (default: all)")
    for axis in "zyx":
        c.add_argument(f"--{axis}", metavar="A:B", help=f"range along {axis} in nm")
    c.add_argument("--csv", metavar="FILE", help="write the table to a file")


def score(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d score``."""
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--truth")
    c.add_argument("--foreground", help="the phase that IoU, Dice, precision and recall speak of")
    c.add_argument("--merge", metavar="FROM=TO,...")
    c.add_argument("--slices", metavar="A:B")
    c.add_argument("--out", metavar="NAME", help="node of the results (default FIELD_score...)")
    common.blocks(c)


def report(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d report``."""
    c.add_argument("sample")
    c.add_argument("out")
    c.add_argument("--field")
    c.add_argument("--raw")
    c.add_argument("--truth")
    c.add_argument("--annotation")
    c.add_argument("--model")
    c.add_argument("--title")
    common.planned(c)
