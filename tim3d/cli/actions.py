"""Actions of the commands: call a verb and show its result, run a recipe, maintain a sample.

The keyword parameters of the functions here are options of the shell: they have no counterpart in a
verb.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Cluster of a shell command without --cluster. In Python a cluster is given explicitly.
SERIAL = "serial"


def verb(name: str, given: dict[str, Any]) -> None:
    """Call a verb and show its result, or its plan."""
    figure = given.pop("figure", None)
    if figure is not None:
        from tim3d.reporting import page

        page.check_figure(figure)
    target = given.pop("json", None) if name == "inspect" else None
    if target is not None:
        from tim3d.reporting import inspection

        inspection.check_json(target)
    planning = given.pop("plan", False)
    result = perform(name, given, plan=planning)
    if planning:
        _show_plans(result)
        return
    show_result(result)
    draw(name, result, figure=figure)
    keep_json(result, path=target)


def view(name: str, given: dict[str, Any]) -> None:
    """Serve a sample to a browser until Ctrl-C is pressed, or show the plan."""
    planning = given.pop("plan", False)
    result = perform(name, given, plan=planning)
    if planning:
        _show_plans(result)
        return
    print(result, flush=True)
    result.wait()


def keep_json(result: Any, *, path: str | Path | None = None) -> None:
    """Write an inspection to a file.

    Parameters
    ----------
    result : xarray.Dataset
        What `inspect` returned.
    path : path, optional
        File to which findings and the numbers of every slice are written as JSON (default: none).
    """
    if path is not None:
        from tim3d.reporting import inspection

        inspection.write_json(result, path)


def perform(name: str, given: dict[str, Any], *, plan: bool = False) -> Any:
    """Call a verb on the requested cluster.

    Parameters
    ----------
    name : str
        The verb.
    given : dict
        What was typed; what it runs on is taken out.
    plan : bool
        Say what it would cost, and do nothing.
    """
    from tim3d.cli import parsing

    own = parsing.parameters(name)  # a training has threads of its own
    typed = {key: given.pop(key) for key in [*given] if key in own}
    with _on_cluster(given, planning=plan):
        return (parsing.call_plan if plan else parsing.call)(
            name, {**typed, **given, "progress": _progress()}
        )


def draw(name: str, result: Any, *, figure: str | Path | None = None) -> None:
    """Write the figure of a study, a comparison, a relation or of bond lines.

    Parameters
    ----------
    name : str
        The verb.
    result : xarray.Dataset
        What it returned.
    figure : path, optional
        File to which the figure is written, for example study.png (default: none).
    """
    if figure is None:
        return
    from tim3d.reporting import page
    from tim3d.reporting.html import SECTIONS

    drawn = next(
        section.figure
        for section in SECTIONS
        if section.figure is not None and section.shows(result)
    )
    page.write_figure(drawn(result), figure)


def describe(_: str, given: dict[str, Any]) -> None:
    """Results of several samples as one table."""
    from tim3d.cli import parsing

    target, samples = given.pop("csv", None), given.pop("sample")
    planning = given.pop("plan", False)
    _refuse_one_twice(samples)
    if target is not None:
        _check_table(target)
    do = parsing.call_plan if planning else parsing.call
    with _on_cluster(given, planning=planning):
        more = {**given, "progress": _progress()}
        found = {sample: do("describe", {**more, "sample": sample}) for sample in samples}
    if planning:
        _show_plans([one for plans in found.values() for one in plans])
        return
    show_table(found, csv=target)


def _refuse_one_twice(samples: Sequence[str]) -> None:
    from tim3d.errors import ArgumentError
    from tim3d.storage.files import twice

    if again := twice(samples):
        raise ArgumentError(f"sample {again!r} is given twice: give it once")


def show_table(results: Mapping[str, Any], *, csv: str | Path | None = None) -> None:
    """Results of samples as a table.

    Parameters
    ----------
    results : mapping of str to xarray.Dataset
        Of each sample.
    csv : path, optional
        File to which the table is written (default: the screen).
    """
    from tim3d.reporting import table, windows_text

    rows = table.rows(results)
    if csv is None:
        print((windows_text if windows_text.of_windows(rows) else table).text(rows))
    else:
        table.write_csv(rows, csv)


def _show_plans(plans: Sequence[Any]) -> None:
    """Print plans, all of them, and end as the run would if one does not fit into memory."""
    _print_plans(plans)
    for one in plans:
        one.check()


def _print_plans(plans: Sequence[Any]) -> None:
    print("\n".join(map(str, plans)) or "nothing is left to do", flush=True)


def _on_cluster(given: dict[str, Any], *, planning: bool) -> Any:
    from tim3d import engine

    with contextlib.ExitStack() as stack:
        stack.enter_context(engine.journal(given.pop("log", None)))
        stack.enter_context(engine.costing(given.pop("pilot", None), given.pop("price", None)))
        on = {key: given.pop(key, None) for key in ("workers", "threads", "site", "tls")}
        start = engine.prospective if planning else engine.cluster
        stack.enter_context(
            start(given.pop("cluster", SERIAL), memory_bytes=given.pop("memory", None), **on)
        )
        return stack.pop_all()


def _progress() -> bool:
    return logging.getLogger("tim3d").level <= logging.INFO


def show_result(result: Any) -> None:
    """Print a result as a table, a field as one line, several tables as one line each.

    Tables that may have millions of rows are left out: results of the phases are shown.
    """
    if hasattr(result, "children"):
        for name, one in result.children.items():
            print(f"{name}: {', '.join(map(str, one.data_vars))}")
    elif hasattr(result, "data_vars"):
        from tim3d.descriptors.coupled import ROW_DIMENSIONS
        from tim3d.reporting import table
        from tim3d.reporting.html import SECTIONS

        texts = (
            section.text
            for section in SECTIONS
            if section.text is not None and section.shows(result)
        )
        text = next(texts, None)
        shown = result.drop_dims(ROW_DIMENSIONS, errors="ignore")
        print(table.text(table.rows({"": shown})) if text is None else text(result))
    elif hasattr(result, "coords"):
        edges, unit = "x".join(map(str, result.shape)), result.z.attrs["units"]
        print(
            f"{result.name}: {edges} {result.dtype}, from {float(result.z[0]):g} to {float(result.z[-1]):g} {unit} in z"
        )
    else:
        print(result)


def _check_table(target: str | Path) -> None:
    """Refuse a table whose ending names another format, or that cannot be written."""
    from tim3d.errors import ArgumentError
    from tim3d.storage.outputs import TABLE, check_target

    if check_target(target, TABLE).suffix.lower() in (
        ".xlsx",
        ".xls",
        ".ods",
        ".json",
        ".parquet",
        ".html",
    ):
        raise ArgumentError(
            f"--csv writes CSV, and {target} has another ending: --csv {Path(target).with_suffix('.csv')}"
        )


def run(_: str, given: dict[str, Any]) -> None:
    """Run a recipe, or plan it."""
    from tim3d.cli.recipe import plan_recipe, run_recipe

    planning, path, settings = given.pop("plan", False), given.pop("recipe"), given.pop("set", ())
    names = {"cluster": "kind", "memory": "memory_gib"} | {
        key: key for key in ("workers", "threads", "site", "tls")
    }
    on = {name: given.pop(key) for key, name in names.items() if key in given}
    if "memory_gib" in on:
        on["memory_gib"] /= 2**30
    log = given.pop("log", None)
    if "wait" in given:
        given["wait_minutes"] = given.pop("wait")
    if planning:
        every: list[Any] = []
        for name, plans in plan_recipe(path, settings, cluster=on, **given):
            print(f"-- {name}")
            _print_plans(plans)
            every += plans
        for one in every:
            one.check()
        return
    for name, result in run_recipe(
        path, settings, cluster=on, journal=log, progress=_progress(), **given
    ).items():
        print(f"-- {name}")
        show_result(result)


def upkeep(name: str, given: dict[str, Any]) -> None:
    """Print the lines of a command of `tim3d.maintenance.commands`."""
    from tim3d.maintenance import commands

    for line in getattr(commands, name)(**given):
        print(line, flush=True)
