"""The shell is made of what the verbs declare: every option has a help and says its default, nothing is said twice."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import shlex
from importlib.util import find_spec
from typing import Any, get_args

import pytest

import tim3d
import tim3d.corrections
from tests.each import each
from tim3d import typed
from tim3d.cli.commands import COMMANDS, Option
from tim3d.cli.declared import NEEDED, choices, summary
from tim3d.cli.main import build_parser
from tim3d.cli.parser import help_of
from tim3d.cli.parsing import parameters, verb
from tim3d.cli.readers import READERS, reader
from tim3d.commands import command_line
from tim3d.errors import ArgumentError
from tim3d.verbs import PYTHON_ONLY, VERBS, option_of

# Only `study` and `fidelity` are drawn, only `describe` writes a table: options of the shell
# without a parameter.
SHELL_ONLY = {"plan", "quiet"}
BESIDE = {
    "inspect": {"figure", "json"},
    "study": {"figure"},
    "evaluate": {"figure"},
    "calibrate": {"figure"},
    "evaluate_images": {"figure"},
    "fidelity_images": {"figure"},
    "fidelity": {"figure"},
    "likeness": {"figure"},
    "describe": {"csv"},
    "relate": {"figure"},
    "bond_line": {"figure"},
}
ON = {"cluster", "workers", "threads", "memory", "site", "tls", "log", "pilot", "price"}
# How it runs that a verb does not have, as its messages in Python say.
WITHOUT = {
    "solve": {"block", "time_limit"},
    "geodesic": {"time_limit"},
    "porosimetry": {"time_limit"},
    "study": {"block"},
    "export": {"time_limit"},
    "describe": {"block"},
    "embed": {"block"},
}
OPTIONS = [(name, option) for name, command in COMMANDS.items() for _, option in command.options()]
# Networks need torch: where it is not installed, the others are looked at.
IMPORTED = [name for name in VERBS if name not in ("train", "segment") or find_spec("torch")]


def shell(name: str) -> str:
    return name.replace("_", "-")


def shown(*words: str) -> str:
    """What the shell prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        build_parser(words[:1]).parse_args([*words])
    return " ".join(out.getvalue().split())


@each(IMPORTED)
def test_the_source_is_read_as_python_reads_it(name: str) -> None:
    known, found = inspect.signature(verb(name)).parameters, parameters(name)
    assert list(found) == list(known)
    for key, one in known.items():
        assert found[key].default == (
            NEEDED if one.default is one.empty else None if key == "options" else one.default
        )
        assert found[key].by_place == (one.kind is one.POSITIONAL_OR_KEYWORD)
    assert summary(VERBS[name], name) == (inspect.getdoc(verb(name)) or "").splitlines()[0]


@each([*VERBS])
def test_the_shell_has_the_parameters_of_the_verb(name: str) -> None:
    mine = set(parameters(name)) - PYTHON_ONLY
    runs = {one.name for one in dataclasses.fields(tim3d.Options)} - PYTHON_ONLY - WITHOUT.get(
        name, set()
    ) | ON
    expected = mine | BESIDE.get(name, set()) | (runs if "options" in parameters(name) else set())
    there = [option.name for _, option in COMMANDS[shell(name)].options()]
    assert len(there) == len(set(there)), "an option stands there twice"
    assert set(there) - SHELL_ONLY == expected


@each(OPTIONS, lambda case: f"{case[0]} {case[1].name}")
def test_every_option_has_a_help_and_says_its_default(case: tuple[str, Option]) -> None:
    _, option = case
    text = help_of(option)
    assert len(text) > 5, "the parameter has no description"
    assert not re.search(r"`|==|\bNone\b|\bTrue\b|_nm\b(?!=)", text), "Python's spelling"
    assert text.count("(default") + text.count("(needed") <= 1
    one = option.parameter
    if one.kind != "bool" and one.default is not NEEDED:
        assert re.search(r"\((default|needed)", text), "what is done without it is not said"
    assert reader(one.kind), f"{one.kind} has no reader"


@each([*COMMANDS])
def test_help_shows_every_option_with_its_text(name: str) -> None:
    text = shown(name, "--help")
    for _, option in COMMANDS[name].options():
        assert (option.name if option.positional else option.flag) in text
        assert re.sub(r"\s|-", "", help_of(option)) in re.sub(r"\s|-", "", text)


@each([*VERBS])
def test_a_default_is_not_repeated_in_prose(name: str) -> None:
    for key, one in parameters(name).items():
        if isinstance(one.default, int | float | str) and one.default not in ("", False, True):
            assert "(default" not in one.text, f"{key}: the signature says the default"


def test_the_overview_names_every_command() -> None:
    text = shown("--help")
    assert [name for name in COMMANDS if f" {name} " not in text] == []


def test_every_type_is_read_once() -> None:
    names = {
        name
        for name, value in vars(typed).items()
        if get_args(value) or value in (int, float, str, slice)
    }
    assert names - {"Triple"} <= set(READERS)
    used = {
        option.parameter.kind for _, command in COMMANDS.items() for _, option in command.options()
    }
    steps = (getattr(tim3d.corrections, name) for _, name in tim3d.corrections.STEPS.values())
    written = " ".join(str(one.type) for step in steps for one in dataclasses.fields(step))
    idle = {kind for kind in set(READERS) - used if not re.search(rf"\b{kind}\b", written)}
    assert idle == set(), "readers without an option or a part of a step"


@each([kind for kind, one in READERS.items() if one.example])
def test_the_example_of_a_message_can_be_typed(kind: str) -> None:
    one = READERS[kind]
    one.read(one.example)
    assert "{" not in one.what_to_write


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        (
            "ingest",
            {"source": "a", "sample": "b", "even_z": False},
            "tim3d ingest a SAMPLE --uneven-z",
        ),
        (
            "train_generator",
            {"micrograph": "a.png", "out": "b"},
            "tim3d train-generator a.png --out b",
        ),
        (
            "fidelity",
            {"sample": "a", "volumes": ["b", "c"], "micrograph": "d"},
            "SAMPLE b c --micrograph d",
        ),
        (
            "fidelity",
            {"sample": "a", "volumes": ["b c", "$d"], "micrograph": "e f"},
            "SAMPLE 'b c' '$d' --micrograph 'e f'",
        ),
    ],
)
def test_a_recorded_command_is_one_that_the_shell_takes(
    name: str, given: dict[str, Any], line: str
) -> None:
    recorded = command_line(name, verb(name), given)
    assert recorded.endswith(line)
    read = vars(build_parser().parse_args(shlex.split(recorded)[1:]))
    assert {key for key, value in read.items() if value is not None} - {
        "parser",
        "command",
        "options",
    } == set(given)


def test_what_is_on_by_default_is_switched_off() -> None:
    every = [option for command in COMMANDS.values() for _, option in command.options()]
    off = {option.flag for option in every if option.parameter.default is True}
    assert off == {"--uneven-z", "--unmixed-precision"}
    assert "do not resample" in shown("ingest", "--help")
    assert option_of("even_z", on=False) == "--uneven-z"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Bytes", "1.5", 3 * 2**29),  # GiB
        ("Bytes", 2, 2**31),
        ("Seconds", "90", 90.0),
        ("Minutes", "1.5", 1.5),
        ("VoxelSize", "20,5,4", {"z": 20.0, "y": 5.0, "x": 4.0}),
        ("VoxelSize", "x=4,z=20,y=5", {"z": 20.0, "y": 5.0, "x": 4.0}),
        ("Shape", "2,3,5", (2, 3, 5)),
        ("Window", "3,5", (3, 5)),
        ("PixelShift", "0.5,-2", (0.5, -2.0)),
        ("Cell", "2,3,5", [2.0, 3.0, 5.0]),
        ("Range", "0:200", slice(0.0, 200.0)),
        ("Range", "10.5:", slice(10.5, None)),
        ("SliceRange", ":-2", slice(None, -2)),
        ("Conductivities", "copper=10:20:400,pore=0.5", {"copper": [10.0, 20.0, 400.0], "pore": 0.5}),
        ("ByPair", "a:b=1e8", {"a:b": 1e8}),
        ("Contacts", "1e7,2e7", [1e7, 2e7]),
    ],
)  # fmt: skip
def test_what_is_typed_is_the_value_that_it_means(kind: str, text: object, value: object) -> None:
    by = reader(kind)
    assert by is not None
    assert by.read(text) == value


@pytest.mark.parametrize("text", ["200:0", "200:100", "5:5"])
def test_a_range_that_ends_before_it_begins_is_refused(text: str) -> None:
    for kind in ("Range", "SliceRange", "VoxelRange"):
        by = reader(kind)
        assert by is not None
        with pytest.raises(ArgumentError, match="is empty"):
            by.read(text)


@each([*COMMANDS])
def test_no_option_of_a_command_is_given_twice(name: str) -> None:
    """The later one would count, and the first be lost without a word; changes of a recipe alone add up."""
    parser = build_parser([name])
    for _, option in COMMANDS[name].options():
        kind = option.parameter.kind
        if option.positional or kind in ("bool", "Settings"):
            continue
        value = f"{option.flag}={(choices(kind) or ('1',))[0]}"
        with pytest.raises(SystemExit) as ended, contextlib.redirect_stderr(io.StringIO()) as said:
            parser.parse_known_args([name, value, value])
        assert ended.value.code == 2
        assert f"{option.flag}" in said.getvalue()
        assert "is given twice: give it once" in said.getvalue()
