"""Arguments of the verbs that make fields and networks."""

from __future__ import annotations

import argparse

from tim3d.options import common


def simulate(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d simulate``."""
    c.add_argument("folder")
    c.add_argument("--shape", metavar="Z,Y,X")
    c.add_argument("--voxel-size", metavar="Z,Y,X", help="in nm")
    c.add_argument("--solid-fraction", type=float)
    c.add_argument("--correlation-nm", type=float)
    c.add_argument("--seed", type=int)
    c.add_argument("--overwrite", action="store_true", default=None, help="replace the simulation that is there")
    common.planned(c)


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
    common.blocks(c)


def train_generator(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d train-generator``."""
    c.add_argument("micrograph", nargs="+", help="one of an isotropic material, or three: the planes normal to z, y, x")
    c.add_argument("--out", required=True, metavar="FOLDER", help="for generator.safetensors, state, history, pictures")
    c.add_argument("--phases", metavar="NAME=GREY,...", help="of labelled images; else grey values or colours")
    c.add_argument("--preset", help="of the network (default demo)")
    c.add_argument("--pixel-size", metavar="L[,L,L]", help="of the files in nm; of three z,y,x (default: metadata)")
    c.add_argument("--scale", type=int, help="pixels of a file along the edge of one to train on (default 1)")
    c.add_argument("--steps", type=int, help="of the generator (default 800)")
    c.add_argument("--minutes", type=float, help="end after this time even if steps are left; the next call goes on")
    c.add_argument("--every", type=int, help="steps from one look at the result to the next (default 50)")
    c.add_argument("--batch", type=int, help="volumes of a step (default 4)")
    c.add_argument("--slices", type=int, help="that a critic sees along each axis (default 16)")
    c.add_argument("--critic-steps", type=int, help="before each of the generator (default 4)")
    c.add_argument("--learning-rate", type=float, help="default 4e-4")
    c.add_argument("--average", type=float, help="what the averaged generator keeps in a step (default 0.99)")
    c.add_argument("--held-out", type=float, help="share of the columns that only the selection sees")
    c.add_argument("--seed", type=int)
    c.add_argument("--device", help="auto (default), cpu, cuda, cuda:1")
    c.add_argument("--threads", type=int, help="of the CPU (default 1); another number gives other bits")
    common.planned(c)
    c.add_argument("--overwrite", action="store_true", default=None, help="forget an earlier training in the folder")


def import_generator(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d import-generator``."""
    c.add_argument("checkpoint", help="NAME_Gen.pt, with NAME_params.data beside it")
    c.add_argument("weights", help="file to write, for example gen.safetensors")
    c.add_argument("--voxel-size", metavar="Z,Y,X", required=True, help="in nm: the pixels of the training image")
    c.add_argument("--phases", metavar="NAME=CODE,...", help="in the order of the channels; none of grey and colour")
    c.add_argument("--overwrite", action="store_true", default=None, help="replace a file that holds another one")
    common.planned(c)


def ingest(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d ingest``."""
    c.add_argument("source", nargs="+", help="folder, glob or files: TIFF, PNG, npy, raw, HDF5, zarr")
    c.add_argument("sample")
    c.add_argument("--voxel-size", metavar="Z,Y,X", help="for example 10,5,5 or z=10; the rest from the metadata")
    c.add_argument("--units", help="of the voxel size: nm (default), um, mm ...")
    c.add_argument("--field", help="name of the field (default raw)")
    c.add_argument("--phases", metavar="NAME=CODE,...", help="makes it a field of labels")
    c.add_argument("--dataset", help="which dataset of an HDF5 or zarr")
    c.add_argument("--shape", metavar="Z,Y,X", help="of a raw file")
    c.add_argument("--dtype", help="of a raw file")
    c.add_argument("--shard", metavar="Z,Y,X", help="edges of a shard (default 64,512,512)")
    c.add_argument(
        "--missing-chunks", choices=("refuse", "fill"), help="of HDF5 and zarr: what is not there (default refuse)"
    )
    c.add_argument(
        "--uneven-z", dest="even_z", action="store_false", default=None, help="do not resample uneven slices"
    )
    c.add_argument(
        "--other-grid", action="store_true", default=None, help="it may have another shape or voxel size than others"
    )
    common.blocks(c)


def annotate(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d annotate``."""
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--out")
    c.add_argument("--threshold", type=float, help="grey value for pixels (default: Otsu)")
    c.add_argument("--superpixel-threshold", type=float, help="grey value for means (default: from the histogram)")
    c.add_argument("--smoothing", type=float, help="of the histogram, in grey values")
    c.add_argument("--size", type=float, help="edge of a superpixel in pixels")
    c.add_argument("--compactness", type=float)
    c.add_argument("--polarity", choices=("dark", "bright"), help="how pores look")
    common.blocks(c)


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
    common.planned(c)


def segment(c: argparse.ArgumentParser) -> None:
    """Of ``tim3d segment``."""
    c.add_argument("sample")
    c.add_argument("--model", help="a trained network")
    c.add_argument("--method", choices=("otsu", "multi-otsu", "fixed"), help="thresholds of the whole volume")
    c.add_argument("--thresholds", metavar="G,G,...", help="with --method fixed")
    c.add_argument("--phases", metavar="NAME=CODE,...")
    c.add_argument("--merge", metavar="FROM=TO,...", help="classes of the network that count as another")
    c.add_argument("--field")
    c.add_argument("--out")
    c.add_argument("--blur", choices=("none", "binomial"))
    c.add_argument("--polarity", choices=("dark", "bright"), help="whether the first phase named is the dark one")
    c.add_argument("--mode", choices=("crop", "blend"))
    c.add_argument("--window", metavar="Y,X", help="windows instead of whole slices")
    c.add_argument("--halo", type=int, help="border of a window that is thrown away, or half the overlap when blending")
    c.add_argument("--probabilities", action="store_true", default=None, help="keep uint8 probabilities too")
    c.add_argument("--batch", type=int)
    c.add_argument("--precision", choices=("fp32", "fp16"))
    c.add_argument("--device", choices=("auto", "cpu", "cuda"))
    common.blocks(c)
