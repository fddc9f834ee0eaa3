"""The command line: every verb of tim3d, with the same names as in Python. Errors are one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

from tim3d import console, options
from tim3d.version import __version__

INTERRUPTED = 130
EXIT_CODES = """exit codes: 0 done; 2 a bad argument; 3 bad input data; 4 the sample cannot be used or written;
5 the plan does not fit into memory; 6 blocks failed and were set aside, or a solver did not converge;
7 a package, device or cluster is missing; 130 interrupted (run the same command again); 1 anything else, with a
traceback"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    given = vars(parser.parse_args(argv))
    console.log_to_stderr(quiet=given.pop("quiet", False))
    action = given.pop("action")
    try:
        action({key: value for key, value in given.items() if value is not None})
    except KeyboardInterrupt:
        print("tim3d: interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # whatever it is, it is said without secrets
        return console.complain(error)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="tim3d", description=__doc__, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"tim3d {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        _simulate,
        _generate,
        _ingest,
        _annotate,
        _train,
        _segment,
        _label,
        _measure,
        _solve,
        _study,
        _fidelity,
        _geodesic,
        _describe,
        _score,
        _report,
        _run,
        _show,
        _upkeep,
    ):
        add(commands)
    return parser


def _command(commands: Any, name: str, text: str, action: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
    command.set_defaults(action=action)
    command.add_argument("--quiet", action="store_true", help="only errors")
    return command


def _blocks(command: argparse.ArgumentParser) -> None:
    """Arguments of every command that works through blocks."""
    group = command.add_argument_group("how it runs (nothing here changes a number)")
    group.add_argument("--plan", action="store_true", help="say what it would cost, and do nothing")
    group.add_argument("--overwrite", action="store_true", help="replace what was made otherwise")
    group.add_argument("--block", metavar="Z,Y,X", help="voxels of a block: whole shards")
    group.add_argument("--durable", action="store_true", help="force each block to the disk, against loss of power")
    options.time_limit(group)
    options.cluster(group)


def _whole(command: argparse.ArgumentParser) -> None:
    """Arguments of a command that works on a whole volume, shared out over workers if there are any."""
    group = command.add_argument_group("how it runs (nothing here changes a number)")
    group.add_argument("--plan", action="store_true", help="say what it would cost, and do nothing")
    group.add_argument("--overwrite", action="store_true", help="solve again")
    group.add_argument("--durable", action="store_true", help="force what is written to the disk")
    options.cluster(group)


def _verb(name: str) -> Any:
    def act(given: dict[str, Any]) -> Any:
        from tim3d import arguments

        with _on_cluster(given):
            result = arguments.call(name, {**given, "progress": _progress()})
        _show_result(result)
        return result

    return act


def _on_cluster(given: dict[str, Any]) -> Any:
    from tim3d import engine

    memory = given.pop("memory", None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(engine.journal(given.pop("log", None)))
        on = {key: given.pop(key, None) for key in ("workers", "threads", "site", "tls")}
        limit = None if memory is None else int(memory * 2**30)
        stack.enter_context(engine.cluster(given.pop("cluster", "serial"), memory_bytes=limit, **on))
        return stack.pop_all()


def _progress() -> bool:
    return logging.getLogger("tim3d").level <= logging.INFO


def _show_result(result: Any) -> None:
    if isinstance(result, list):  # plans
        print("\n".join(map(str, result)) or "nothing is left to do")
    elif hasattr(result, "data_vars"):
        from tim3d.reporting import fidelity, study, table

        own = study if study.is_study(result) else fidelity if fidelity.is_fidelity(result) else None
        print(own.text(result) if own else table.text(table.rows({"": result})))
    elif hasattr(result, "coords"):
        edges, unit = "x".join(map(str, result.shape)), result.z.attrs["units"]
        print(
            f"{result.name}: {edges} {result.dtype}, from {float(result.z[0]):g} to {float(result.z[-1]):g} {unit} in z"
        )
    else:
        print(result)


def _simulate(commands: Any) -> None:
    c = _command(commands, "simulate", "write a simulated FIB-SEM stack with known truth", _verb("simulate"))
    c.add_argument("folder")
    c.add_argument("--shape", metavar="Z,Y,X")
    c.add_argument("--voxel-size", metavar="Z,Y,X", help="in nm")
    c.add_argument("--solid-fraction", type=float)
    c.add_argument("--correlation-nm", type=float)
    c.add_argument("--seed", type=int)


def _generate(commands: Any) -> None:
    c = _command(commands, "generate", "a volume of labels of a stated law, of any size", _verb("generate"))
    options.generate(c)
    _blocks(c)


def _ingest(commands: Any) -> None:
    c = _command(commands, "ingest", "write slices or a volume into a sample", _verb("ingest"))
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
        "--uneven-z", dest="even_z", action="store_false", default=None, help="do not resample uneven slices"
    )
    _blocks(c)


def _annotate(commands: Any) -> None:
    c = _command(commands, "annotate", "label a grey stack by threshold and superpixels", _verb("annotate"))
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--out")
    c.add_argument("--threshold", type=float, help="grey value for pixels (default: Otsu)")
    c.add_argument("--superpixel-threshold", type=float, help="grey value for means (default: from the histogram)")
    c.add_argument("--smoothing", type=float, help="of the histogram, in grey values")
    c.add_argument("--size", type=float, help="edge of a superpixel in pixels")
    c.add_argument("--compactness", type=float)
    c.add_argument("--polarity", choices=("dark", "bright"), help="how pores look")
    _blocks(c)


def _train(commands: Any) -> None:
    c = _command(commands, "train", "train a U-Net on labelled slices of a sample", _verb("train"))
    options.train(c)


def _segment(commands: Any) -> None:
    c = _command(commands, "segment", "label a grey field by a network or by thresholds", _verb("segment"))
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
    _blocks(c)


def _label(commands: Any) -> None:
    c = _command(commands, "label", "find connected components, and what leads from face to face", _label_sample)
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--phases", metavar="NAME,...", help="default: all")
    c.add_argument("--connectivity", type=int, choices=(6, 18, 26), help="neighbours share faces, edges, corners")
    c.add_argument("--keep", action="store_true", default=None, help="write the component of every voxel too")
    c.add_argument("--out", help="name of that field (default component)")
    _blocks(c)


def _label_sample(given: dict[str, Any]) -> None:
    """The table of components may have millions of rows: the results of the phases are shown."""
    from tim3d import arguments

    with _on_cluster(given):
        result = arguments.call("label", {**given, "progress": _progress()})
    _show_result(result.drop_dims("component") if hasattr(result, "data_vars") else result)


def _measure(commands: Any) -> None:
    c = _command(commands, "measure", "measure a label field", _verb("measure"))
    c.add_argument("sample")
    c.add_argument("--descriptors", metavar="NAME,...", help="default: all")
    c.add_argument("--field")
    _blocks(c)


def _solve(commands: Any) -> None:
    c = _command(commands, "solve", "conductivity and tortuosity factor of a label field", _verb("solve"))
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
    c.add_argument("--out", metavar="NAME", help="node of the results (default FIELD_transport)")
    c.add_argument("--checkpoint", type=float, metavar="SECONDS", help="time between two checkpoints (default 300)")
    c.add_argument("--device", help="cpu, cuda, ... (default: the GPUs of cluster cuda, else cpu)")
    _whole(c)


def _geodesic(commands: Any) -> None:
    c = _command(commands, "geodesic", "geodesic distances and tortuosity of a label field", _verb("geodesic"))
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--phases", metavar="NAME,...", help="to travel through (default: all)")
    c.add_argument("--directions", metavar="D,...", help="write --directions=+z,-z (default: +z,-z,+y,-y,+x,-x)")
    c.add_argument("--metric", help="eikonal (default) or graph26")
    c.add_argument("--seeds", metavar="FIELD,PHASE", help="start from these voxels instead of from the faces")
    c.add_argument("--keep", action="store_true", default=None, help="write the distances as fields too")
    c.add_argument("--richardson", action="store_true", default=None, help="every second voxel too, extrapolate")
    _blocks(c)


def _study(commands: Any) -> None:
    c = _command(commands, "study", "a value against window size, and the size that is representative", _drawn("study"))
    options.study(c)
    _whole(c)


def _fidelity(commands: Any) -> None:
    c = _command(commands, "fidelity", "judge generated volumes by micrographs", _drawn("fidelity"))
    options.fidelity(c)
    _blocks(c)


def _drawn(name: str) -> Any:
    def act(given: dict[str, Any]) -> None:
        from tim3d.reporting import fidelity, study

        target, found = given.pop("figure", None), _verb(name)(given)
        if target is not None and hasattr(found, "data_vars"):
            {"study": study, "fidelity": fidelity}[name].write_figure(found, target)

    return act


def _describe(commands: Any) -> None:
    c = _command(commands, "describe", "results of samples, or of a region, as a table", _describe_samples)
    c.add_argument("sample", nargs="+")
    c.add_argument("--descriptors", metavar="NAME,...")
    c.add_argument("--field")
    for axis in "zyx":
        c.add_argument(f"--{axis}", metavar="A:B", help=f"range along {axis} in nm")
    c.add_argument("--csv", metavar="FILE", help="write the table to a file")


def _describe_samples(given: dict[str, Any]) -> None:
    from tim3d import arguments
    from tim3d.reporting import table

    target, samples = given.pop("csv", None), given.pop("sample")
    results = {sample: arguments.call("describe", {**given, "sample": sample}) for sample in samples}
    rows = table.rows(results)
    if target is None:
        print(table.text(rows))
    else:
        table.write_csv(rows, target)


def _score(commands: Any) -> None:
    c = _command(commands, "score", "compare two label fields", _verb("score"))
    c.add_argument("sample")
    c.add_argument("--field")
    c.add_argument("--truth")
    c.add_argument("--foreground", help="the phase that IoU, Dice, precision and recall speak of")
    c.add_argument("--merge", metavar="FROM=TO,...")
    c.add_argument("--slices", metavar="A:B")
    _blocks(c)


def _report(commands: Any) -> None:
    c = _command(commands, "report", "write one HTML file with pictures and tables", _verb("report"))
    c.add_argument("sample")
    c.add_argument("out")
    c.add_argument("--field")
    c.add_argument("--raw")
    c.add_argument("--truth")
    c.add_argument("--annotation")
    c.add_argument("--model")
    c.add_argument("--title")


def _run(commands: Any) -> None:
    c = _command(commands, "run", "run a recipe; run again, it only resumes", _run_recipe)
    c.add_argument("recipe")
    c.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="for example ingest.source=scan/*.tif"
    )
    c.add_argument("--plan", action="store_true", help="say what each step would cost, as far as it is known")
    c.add_argument("--overwrite", action="store_true")
    options.run(c)


def _run_recipe(given: dict[str, Any]) -> None:
    from tim3d.recipe import run_recipe

    settings, path = given.pop("set"), given.pop("recipe")
    same = ("workers", "threads", "site", "tls")
    names = {"cluster": "kind", "memory": "memory_gib", **{name: name for name in same}}
    on = {name: given.pop(key) for key, name in names.items() if key in given}
    log = given.pop("log", None)
    for name, result in run_recipe(path, settings, cluster=on, journal=log, progress=_progress(), **given).items():
        print(f"-- {name}")
        _show_result(result)


def _show(commands: Any) -> None:
    c = _command(commands, "show", "what a sample holds", _show_sample)
    c.add_argument("sample")


def _show_sample(given: dict[str, Any]) -> None:
    from tim3d import store

    print(store.summary(given["sample"]))


def _upkeep(commands: Any) -> None:
    for name, (text, arguments) in options.UPKEEP.items():
        arguments(_command(commands, name, text, _said(name)))


def _said(name: str) -> Any:
    def act(given: dict[str, Any]) -> None:
        from tim3d import upkeep

        for line in getattr(upkeep, name)(**given):
            print(line, flush=True)

    return act


if __name__ == "__main__":
    sys.exit(main())
