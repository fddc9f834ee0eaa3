"""A parser with errors of one line that name the text to type; repeated options are errors."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from tim3d.cli.commands import Option
from tim3d.cli.declared import NEEDED, choices
from tim3d.cli.readers import example_of, reader
from tim3d.commands import shell_text
from tim3d.spelling import suggestion

# Options of other verbs that this verb has under another name.
_ELSEWHERE = {
    ("ingest", "--out"): "--field",
    ("simulate", "--out"): "the folder itself",
    ("train", "--out"): "MODEL",
}
_INVALID = re.compile(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", re.DOTALL)
_ALONE = re.compile(r"argument (--[a-z0-9-]+): expected one argument")
_REQUIRED = re.compile(r"the following arguments are required: (.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with errors of one line."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named, allow_abbrev=False)
        self.examples: dict[str, str] = {}
        self.register("action", None, _Once)
        self.register("action", "store", _Once)

    def add(self, options: Iterable[tuple[str, Option]]) -> None:
        """Add options, each below its title."""
        groups: dict[str, argparse._ArgumentGroup | Parser] = {"": self}
        for title, option in options:
            group = groups.get(title) or groups.setdefault(title, self.add_argument_group(title))
            how = {"help": help_of(option).replace("%", "%%"), **_form(option)}
            if option.positional:
                group.add_argument(option.name, **how)
            else:
                group.add_argument(option.flag, dest=option.name, **how)
            if example := example_of(option.parameter.kind):
                self.examples[option.flag] = example

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and the message in one line."""
        self.exit(2, f"tim3d: {_in_our_words(message, self.examples)}. See  {self.prog} --help\n")

    def refuse(self, unknown: Iterable[str]) -> NoReturn:
        """Exit because of arguments that the command does not have."""
        first = next(iter(unknown))
        option = first.partition("=")[0]
        verb = self.prog.rpartition(" ")[2]
        if verb == self.prog:
            self.error(f"{option} stands before the command, and options stand after it")
        if (verb, option) in _ELSEWHERE:
            self.error(f"{verb} has no {option}: that is {_ELSEWHERE[verb, option]}")
        if not option.startswith("-"):
            self.error(f"{first!r} is one argument too many")
        self.error(f"{verb} has no option {option}{self._meant(option)}")

    def _meant(self, option: str) -> str:
        """Suggest an option like the typed one; leading dashes, which all have, are ignored."""
        known = {name.lstrip("-"): name for name in self._options()}
        near = difflib.get_close_matches(option.lstrip("-"), known, n=1)
        return f" (did you mean {known[near[0]]!r}?)" if near else ""

    def _options(self) -> list[str]:
        return sorted(set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", self.format_usage())))


class _Once(argparse.Action):
    """Store a value; refuse a repeated option, which would replace it silently."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        if option is not None and getattr(namespace, self.dest, self.default) is not self.default:
            raise argparse.ArgumentError(self, "is given twice: give it once")
        setattr(namespace, self.dest, values)


def _in_our_words(message: str, examples: Mapping[str, str]) -> str:
    if invalid := _INVALID.search(message):
        name, seen, known = invalid.groups()
        choices = [choice.strip(" '\n") for choice in known.split(",")]
        meant = suggestion(seen, choices)
        return f"no {'command' if name == 'COMMAND' else name} {seen!r}" + (
            meant or f"; there are {', '.join(choices)}"
        )
    if required := _REQUIRED.search(message):
        missing = required.group(1).split(", ")
        shown = [f"{name} {examples[name]}" for name in missing if name in examples]
        verb = "is" if len(missing) == 1 else "are"
        return f"{', '.join(missing)} {verb} missing" + (
            f"; write for example {' '.join(shown)}" if shown else ""
        )
    if alone := _ALONE.search(message):
        name = alone.group(1)
        return (
            f"{name} has no value; one that begins with a minus follows an equals sign: {name}=-1"
        )
    return message


def help_of(option: Option) -> str:
    """Help of an option: the text in its function, and its default unless the text states it."""
    text, default = option.parameter.text, option.parameter.default
    if default is True:
        return f"do not {text}"
    if "(default" in text or "(needed" in text or default is NEEDED or default is False:
        return text
    return f"{text} (default: {shell_text(default) or 'none'})"


def _form(option: Option) -> dict[str, Any]:
    """Arguments of `add_argument` for an option."""
    kind, default = option.parameter.kind, option.parameter.default
    by = reader(kind)
    if kind == "bool":
        return {"action": "store_false" if default is True else "store_true", "default": None}
    if kind == "Settings":
        return {"action": "append", "metavar": by and by.shown}
    several = by is not None and by.several
    if option.positional:
        return {
            "nargs": ("+" if several else None) if default is NEEDED else ("*" if several else "?")
        }
    return {
        "required": default is NEEDED,
        "nargs": "+" if several else None,
        "choices": [str(one) for one in choices(kind)] or None,
        "metavar": None if choices(kind) or by is None else by.shown,
    }
