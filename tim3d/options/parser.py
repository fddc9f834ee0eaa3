"""A parser whose faults are one line that says what to type, and that takes no option twice."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from tim3d.spelling import suggestion

# What to write after an option that is required and missing.
_EXAMPLES = {
    "--conductivity": "copper=400,pore=0.026",
    "--shape": "256,256,256",
    "--voxel-size": "10,5,5",
    "--quantity": "phase_fraction",
    "--micrograph": "image.png",
    "--kind": "field",
    "--out": "folder",
}
# Options of other verbs for what this verb has under another name.
_ELSEWHERE = {("ingest", "--out"): "--field", ("simulate", "--out"): "the folder itself", ("train", "--out"): "MODEL"}
_INVALID = re.compile(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", re.DOTALL)
_REQUIRED = re.compile(r"the following arguments are required: (.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with errors of one line."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named, allow_abbrev=False)
        self.register("action", None, _Once)
        self.register("action", "store", _Once)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"tim3d: {_in_our_words(message)}. See  {self.prog} --help\n")

    def refuse(self, unknown: Iterable[str]) -> NoReturn:
        """End because of arguments that the command does not have."""
        first = next(iter(unknown))
        option = first.partition("=")[0]
        verb = self.prog.rpartition(" ")[2]
        if (verb, option) in _ELSEWHERE:
            self.error(f"{verb} has no {option}: that is {_ELSEWHERE[verb, option]}")
        if not option.startswith("-"):
            self.error(f"{first!r} is one argument too many")
        self.error(f"{verb} has no option {option}{self._meant(option)}")

    def _meant(self, option: str) -> str:
        """An option like the one typed: its dashes, which all have, do not count."""
        known = {name.lstrip("-"): name for name in self._options()}
        near = difflib.get_close_matches(option.lstrip("-"), known, n=1)
        return f" (did you mean {known[near[0]]!r}?)" if near else ""

    def _options(self) -> list[str]:
        return sorted(set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", self.format_usage())))


class _Once(argparse.Action):
    """Keep the value; the same option a second time would replace it without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if option is not None and getattr(namespace, self.dest, self.default) is not self.default:
            raise argparse.ArgumentError(self, "is given twice: give it once")
        setattr(namespace, self.dest, values)


def _in_our_words(message: str) -> str:
    if invalid := _INVALID.search(message):
        name, seen, known = invalid.groups()
        choices = [choice.strip(" '\n") for choice in known.split(",")]
        meant = suggestion(seen, choices)
        return f"no {'command' if name == 'COMMAND' else name} {seen!r}" + (
            meant or f"; there are {', '.join(choices)}"
        )
    if required := _REQUIRED.search(message):
        missing = required.group(1).split(", ")
        shown = [f"{name} {_EXAMPLES[name]}" for name in missing if name in _EXAMPLES]
        verb = "is" if len(missing) == 1 else "are"
        return f"{', '.join(missing)} {verb} missing" + (f"; write for example {' '.join(shown)}" if shown else "")
    return message
