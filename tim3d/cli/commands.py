"""The commands of the shell, each with the functions whose parameters are its options.

The command of a verb is made from its signature; all others are listed below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tim3d.cli import actions
from tim3d.cli.declared import NEEDED, Parameter, choices, declared, summary
from tim3d.cli.parsing import options_of, parameters, read
from tim3d.cli.readers import STEPS, reader
from tim3d.commands import shell_text
from tim3d.steps import BARE
from tim3d.verbs import GROUPS as VERB_GROUPS
from tim3d.verbs import PYTHON_ONLY, VERBS, is_positional, option_of

Action = Callable[[str, dict[str, Any]], None]
# Positional parameters of commands that are not verbs.
POSITIONAL = ("sample", "recipe", "folder")
HOW = "how it runs (nothing here changes a number)"


@dataclass(frozen=True)
class Option:
    """A parameter under its name in the shell; a verb's is read at the call, others at once."""

    name: str
    parameter: Parameter
    positional: bool = False
    of_verb: bool = False

    @property
    def flag(self) -> str:
        """The option as it is typed; a parameter that is on by default has one to switch it off."""
        return option_of(self.name, on=self.parameter.default is not True)

    def read(self, value: Any) -> Any:
        """Return the value of the typed text."""
        return value if self.of_verb else read(self.parameter, value, self.flag)


@dataclass(frozen=True)
class Source:
    """A function whose parameters are options of the shell.

    `names` maps parameters to their names in the shell; if given, other parameters are left out.
    `changes` overrides attributes of a parameter, by its name in the shell.
    """

    module: str
    function: str
    names: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def below(self, title: str) -> Iterator[tuple[str, Option]]:
        """Return the options in the order of the signature, each with the title of its group."""
        for key, one in declared(self.module, self.function).parameters.items():
            if name := self.names.get(key, "" if self.names else key):
                yield (
                    title,
                    Option(name, replace(one, **self.changes.get(name, {})), name in POSITIONAL),
                )


QUIET = Source("tim3d.cli.console", "log_to_stderr")
PLAN = Source("tim3d.cli.actions", "perform", {"plan": "plan"})
FIGURE = Source("tim3d.cli.actions", "draw", {"figure": "figure"})
JSON = Source("tim3d.cli.actions", "keep_json", {"path": "json"})
CSV = Source("tim3d.cli.actions", "show_table", {"csv": "csv"})
_KIND = Source(
    "tim3d.engine",
    "cluster",
    {"kind": "cluster", "memory_bytes": "memory"}
    | {key: key for key in ("workers", "threads", "site", "tls")},
)
CLUSTER = (
    replace(_KIND, changes={"cluster": {"default": actions.SERIAL}}),
    Source("tim3d.engine", "journal", {"path": "log"}),
    Source("tim3d.engine", "costing", {"journal": "pilot", "price": "price"}),
)
RECIPE = Source(
    "tim3d.cli.recipe",
    "run_recipe",
    {"path": "recipe", "settings": "set", "wait_minutes": "wait", "part": "part", "trust": "trust"},
)
OVERWRITE = Source("tim3d.stages.shared.field", "Options", {"overwrite": "overwrite"})


@dataclass(frozen=True)
class Command:
    """A command: the function that documents it, its action, and its options with their titles."""

    module: str
    function: str
    action: Action
    options: Callable[[], Iterator[tuple[str, Option]]]

    @property
    def summary(self) -> str:
        """The first line of the docstring, for the overview."""
        return summary(self.module, self.function).replace("`", "")


def _verb(name: str) -> Command:
    action = {"describe": actions.describe, "view": actions.view}.get(name, actions.verb)
    return Command(VERBS[name], name, action, lambda: _options_of_verb(name))


def _options_of_verb(name: str) -> Iterator[tuple[str, Option]]:
    for key, one in parameters(name).items():
        if key not in PYTHON_ONLY:
            changed = replace(one, kind="Samples") if (name, key) == ("describe", "sample") else one
            positional = one.by_place and is_positional(
                name, key, one.default, needed=one.default is NEEDED
            )
            yield "", Option(key, changed, positional, of_verb=True)
    for source in {
        "study": [FIGURE],
        "fidelity": [FIGURE],
        "likeness": [FIGURE],
        "evaluate": [FIGURE],
        "calibrate": [FIGURE],
        "evaluate_images": [FIGURE],
        "fidelity_images": [FIGURE],
        "describe": [CSV],
        "inspect": [FIGURE, JSON],
        "relate": [FIGURE],
        "bond_line": [FIGURE],
    }.get(name, []):
        yield from source.below("")
    if "options" not in parameters(name):
        yield from PLAN.below("")
        return
    yield from PLAN.below(HOW)
    yield from (
        (HOW, Option(key, one, of_verb=True))
        for key, one in options_of(name).items()
        if key not in PYTHON_ONLY
    )
    for source in CLUSTER:
        yield from source.below(HOW)


def guides(name: str) -> Iterator[tuple[str, str]]:
    """Yield each step that a command takes, with the help of its parameters."""
    kinds = dict.fromkeys(one.kind for one in parameters(name).values()) if name in VERBS else {}
    every = [item for kind in kinds if kind in STEPS for item in STEPS[kind].items()]
    for kind, (module, of) in every:
        about = declared(module, of)
        known = about.parameters.values()
        shown = ",".join(
            _shown(one) if one.name == BARE else f"{one.name}={_shown(one)}" for one in known
        )
        texts = "; ".join(f"{one.name}: {_with_default(one)}" for one in known)
        yield f"step {kind}:{shown}", f"{summary(module, of)} {texts}."


def _shown(one: Parameter) -> str:
    """Form of the value of a parameter."""
    by, listed = reader(one.kind), choices(one.kind) or ("true", "false") * (one.kind == "bool")
    return "|".join(map(str, listed)) or (by.shown if by and by.shown else one.name.upper())


def _with_default(one: Parameter) -> str:
    """Help of a parameter with its default, unless the text states it."""
    if one.default is None or "(default" in one.text:
        return one.text
    if one.default is NEEDED:
        return f"{one.text} (needed)"
    usual = shell_text(one.default) or "none"
    return f"{one.text} (default: {usual.lower() if one.kind == 'bool' else usual})"


def _run() -> Iterator[tuple[str, Option]]:
    for source in (RECIPE, PLAN, OVERWRITE):
        yield from source.below("")
    for source in (
        replace(_KIND, changes={"cluster": {"default": "as the recipe says"}}),
        *CLUSTER[1:],
    ):
        yield from source.below("what it runs on, in place of [cluster] in the recipe")


def _upkeep(name: str, source: Source | None = None) -> Command:
    module = "tim3d.maintenance.commands"
    return Command(module, name, actions.upkeep, lambda: (source or Source(module, name)).below(""))


_OTHERS = {
    "run": Command("tim3d.cli.recipe", "run_recipe", actions.run, _run),
    **{name: _upkeep(name) for name in ("show", "validate", "status", "doctor")},
    "certificates": _upkeep("certificates", Source("tim3d.engine.clusters.tls", "certificates")),
}
COMMANDS = {**{name.replace("_", "-"): _verb(name) for name in VERBS}, **_OTHERS}
# Names of the commands, by what they are for.
GROUPS = {
    **{group: [name.replace("_", "-") for name in verbs] for group, verbs in VERB_GROUPS.items()},
    "run recipes, and look after samples": list(_OTHERS),
}
