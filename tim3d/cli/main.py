"""The command line: every verb of tim3d, with the same names as in Python. Errors are one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tim3d.cli import console
from tim3d.options import keeping, making, measuring
from tim3d.options.parser import Parser
from tim3d.storage.outputs import TABLE, check_target
from tim3d.version import __version__

Options = Callable[[argparse.ArgumentParser], None]
Action = Callable[[dict[str, Any]], Any]

INTERRUPTED = 130
EXIT_CODES = """exit codes: 0 done; 2 a bad argument; 3 bad input data; 4 the sample cannot be used or written;
5 the plan does not fit into memory; 6 blocks failed and were set aside, or a solver did not converge;
7 a package, device or cluster is missing; 130 interrupted (run the same command again); 1 anything else, with a
traceback"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    parsed, unknown = parser.parse_known_args(argv)
    given = vars(parsed)
    command: Parser = given.pop("parser")
    if unknown:
        command.refuse(unknown)
    console.log_to_stderr(quiet=given.pop("quiet", False))
    action = given.pop("action")
    try:
        action({key: value for key, value in given.items() if value is not None})
    except KeyboardInterrupt:
        print("tim3d: interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # whatever it is, it is said without secrets
        return console.report_error(error)
    return 0


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="tim3d", description=__doc__, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"tim3d {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (text, options, action) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
        command.set_defaults(action=action, parser=command)
        command.add_argument("--quiet", action="store_true", help="only errors")
        options(command)
    return parser


def _verb(name: str, show: Callable[[Any, dict[str, Any]], None] | None = None) -> Action:
    """Call a verb and show its result, or its plan."""

    def act(given: dict[str, Any]) -> None:
        from tim3d.cli import parsing

        planning = given.pop("plan", False)
        apart = {key: given.pop(key) for key in ("figure",) if key in given}
        if "figure" in apart:
            from tim3d.reporting import page

            page.check_figure(apart["figure"])
        with _on_cluster(given, planning=planning):
            do = parsing.call_plan if planning else parsing.call
            result = do(name, {**given, "progress": _progress()})
        if planning:
            _show_plans(result)
        else:
            (show or _show)(result, apart)

    return act


def _show(result: Any, _: dict[str, Any]) -> None:
    _show_result(result)


def _show_plans(plans: Sequence[Any]) -> None:
    print("\n".join(map(str, plans)) or "nothing is left to do")


def _on_cluster(given: dict[str, Any], *, planning: bool) -> Any:
    from tim3d import engine

    memory = given.pop("memory", None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(engine.journal(given.pop("log", None)))
        stack.enter_context(engine.costing(given.pop("pilot", None), given.pop("price", None)))
        on = {key: given.pop(key, None) for key in ("workers", "threads", "site", "tls")}
        limit = None if memory is None else int(memory * 2**30)
        start = engine.prospective if planning else engine.cluster
        stack.enter_context(start(given.pop("cluster", "serial"), memory_bytes=limit, **on))
        return stack.pop_all()


def _progress() -> bool:
    return logging.getLogger("tim3d").level <= logging.INFO


def _show_result(result: Any) -> None:
    if hasattr(result, "data_vars"):
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


def _show_components(result: Any, _: dict[str, Any]) -> None:
    """The table of components may have millions of rows: the results of the phases are shown."""
    _show_result(result.drop_dims("component"))


def _drawn(name: str) -> Action:
    def show(result: Any, apart: dict[str, Any]) -> None:
        from tim3d.reporting import fidelity, page, study

        _show_result(result)
        if "figure" in apart:
            drawn_by = {"study": study.study_figure, "fidelity": fidelity.curves_figure}
            page.write_figure(drawn_by[name](result), apart["figure"])

    return _verb(name, show)


def _describe(given: dict[str, Any]) -> None:
    from tim3d.cli import parsing
    from tim3d.reporting import table

    target, samples = given.pop("csv", None), given.pop("sample")
    if target is not None:
        _check_table(target)
    results = {sample: parsing.call("describe", {**given, "sample": sample}) for sample in samples}
    rows = table.rows(results)
    if target is None:
        print(table.text(rows))
    else:
        table.write_csv(rows, target)


def _check_table(target: str) -> None:
    """Refuse a table that would not be what the ending of its name says, or cannot be written."""
    from pathlib import Path

    from tim3d.errors import ArgumentError

    if check_target(target, TABLE).suffix.lower() in (".xlsx", ".xls", ".ods", ".json", ".parquet", ".html"):
        raise ArgumentError(
            f"--csv writes CSV, and {target} has another ending: --csv {Path(target).with_suffix('.csv')}"
        )


def _run(given: dict[str, Any]) -> None:
    from tim3d.cli.recipe import plan_recipe, run_recipe

    settings, path = given.pop("set"), given.pop("recipe")
    same = ("workers", "threads", "site", "tls")
    names = {"cluster": "kind", "memory": "memory_gib", **{name: name for name in same}}
    on = {name: given.pop(key) for key, name in names.items() if key in given}
    log = given.pop("log", None)
    planning = given.pop("plan", False)
    if planning:
        for name, plans in plan_recipe(path, settings, cluster=on, **given):
            print(f"-- {name}")
            _show_plans(plans)
        return
    for name, result in run_recipe(path, settings, cluster=on, journal=log, progress=_progress(), **given).items():
        print(f"-- {name}")
        _show_result(result)


def _said(name: str) -> Action:
    def act(given: dict[str, Any]) -> None:
        from tim3d.maintenance import commands

        for line in getattr(commands, name)(**given):
            print(line, flush=True)

    return act


# fmt: off
COMMANDS: dict[str, tuple[str, Options, Action]] = {
    # command, what it does, its arguments, its action
    "simulate": ("write a simulated FIB-SEM stack with known truth", making.simulate, _verb("simulate")),
    "generate": ("a volume of labels of a stated law, of any size", making.generate, _verb("generate")),
    "train-generator": ("train a generator of volumes on micrographs", making.train_generator,
                        _verb("train_generator")),
    "import-generator": ("a generator of the official SliceGAN code as a file for generate",
                         making.import_generator, _verb("import_generator")),
    "ingest": ("write slices or a volume into a sample", making.ingest, _verb("ingest")),
    "annotate": ("label a grey stack by threshold and superpixels", making.annotate, _verb("annotate")),
    "train": ("train a U-Net on labelled slices of a sample", making.train, _verb("train")),
    "segment": ("label a grey field by a network or by thresholds", making.segment, _verb("segment")),
    "label": ("find connected components, and what leads from face to face", measuring.label,
              _verb("label", _show_components)),
    "measure": ("measure a label field", measuring.measure, _verb("measure")),
    "solve": ("conductivity and tortuosity factor of a label field", measuring.solve, _verb("solve")),
    "study": ("a value against window size, and the size that is representative", measuring.study, _drawn("study")),
    "fidelity": ("judge generated volumes by micrographs", measuring.fidelity, _drawn("fidelity")),
    "geodesic": ("geodesic distances and tortuosity of a label field", measuring.geodesic, _verb("geodesic")),
    "describe": ("results of samples, or of a region, as a table", measuring.describe, _describe),
    "score": ("compare two label fields", measuring.score, _verb("score")),
    "report": ("write one HTML file with pictures and tables", measuring.report, _verb("report")),
    "run": ("run a recipe; run again, it only resumes", keeping.run, _run),
    "show": ("what a sample holds", keeping.show, _said("show")),
    "validate": ("check a sample against the data model", keeping.validate, _said("validate")),
    "status": ("how far the passes of a sample are, and who writes to it", keeping.status, _said("status")),
    "doctor": ("is this machine fit? versions, memory, devices, disk, cluster", keeping.doctor, _said("doctor")),
    "certificates": ("make what an encrypted cluster needs", keeping.certificates, _said("certificates")),
}
# fmt: on

if __name__ == "__main__":
    sys.exit(main())
