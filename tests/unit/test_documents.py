"""What the documents name is there: commands that the command line takes, files, tests, functions, keywords."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import tim3d
from tests.each import each
from tim3d.cli.commands import QUIET
from tim3d.cli.main import COMMANDS, build_parser
from tim3d.cli.parsing import OPTIONS, convert, verb
from tim3d.cli.recipe import load_recipe

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("deploy/**/README.md")),
]
RECIPES = sorted({*ROOT.glob("pipelines/*.toml"), *ROOT.glob("deploy/**/recipe.toml")})
DOCUMENTS = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "RESULTS.md"]
FOLDERS = ("benchmarks", "deploy", "docs", "pipelines", "tests", "tim3d")
FILES = {
    path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")
}
IMAGE = re.compile(r"tim3d:\d+\.\d+\.\d+-\w+")


@cache
def parser() -> argparse.ArgumentParser:
    return build_parser()


def name(path: Path) -> str:
    """Of a document, for the reader of a failed test."""
    return path.relative_to(ROOT).as_posix()


def fenced(page: Path, *languages: str) -> Iterator[str]:
    """Blocks of code of a page, as they stand between its fences."""
    found = re.finditer(r"^( *)```(\w+)\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    return (textwrap.dedent(block[3]) for block in found if block[2] in languages)


def spans(page: Path) -> list[str]:
    """What stands between two single backticks outside of the fences."""
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def typed(block: str) -> Iterator[list[str]]:
    """The commands of a block of shell, as lists of words."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        words.whitespace_split = True
        for apart, command in groupby(words, lambda word: set(word) <= set(";&|")):
            if not apart:
                yield list(command)


def arguments(words: list[str]) -> list[str] | None:
    """What tim3d is given by a command, by whatever name it is started; None of another program."""
    if words[0].split("/")[-1] == "tim3d":
        return words[1:]
    starts = [
        place
        for place, word in enumerate(words)
        if IMAGE.fullmatch(word) or word == "tim3d.cli.main"
    ]
    if not starts or {"--entrypoint", "build", "bud"} & set(words):
        return None
    return words[starts[0] + 1 :]


def headers(recipe: Path) -> str:
    """The commands in the comments that a recipe begins with."""
    return "\n".join(re.findall(r"^#   (tim3d .*)", recipe.read_text(), re.MULTILINE))


BLOCKS = [(page, block) for page in PAGES for block in fenced(page, "shell", "bash")]
BLOCKS += [(recipe, headers(recipe)) for recipe in RECIPES]
COMMAND_LINES = [
    (name(page), given)
    for page, block in BLOCKS
    for given in map(arguments, typed(block))
    if given and given != ["--version"]
]


@each(COMMAND_LINES, lambda case: f"{case[0]}: {' '.join(case[1])}")
def test_the_command_line_takes_every_command(case: tuple[str, list[str]]) -> None:
    given = case[1]
    for argument, value in vars(parser().parse_args(given)).items():
        samples = argument == "sample" and isinstance(
            value, list
        )  # describe is called for each of them
        for one in value if samples else [value]:
            convert(argument, one, given[0].replace("-", "_"))


def test_workers_of_a_dead_scheduler_end() -> None:
    started = [
        words
        for page, block in BLOCKS
        for words in typed(block)
        if {"dask", "worker"} <= set(words)
    ]
    assert started
    assert all("--death-timeout" in words for words in started)


@each(RECIPES, name)
def test_the_verbs_of_a_recipe_take_its_arguments(recipe: Path) -> None:
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    for step in load_recipe(recipe, trust=True).steps:
        assert set(step.arguments) <= {*inspect.signature(verb(step.verb)).parameters, *OPTIONS}
        for argument, value in step.arguments.items():
            convert(argument, value, step.verb)


def test_the_first_page_names_every_verb() -> None:
    first = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert f"tim3d {command}" in first


@cache
def options_of(command: str) -> frozenset[str]:
    options = [*QUIET.below(""), *COMMANDS[command].options()]
    return frozenset({"--help", *(one.flag for _, one in options if not one.positional)})


@each(DOCUMENTS, name)
def test_commands_in_the_text_name_verbs_and_options_that_there_are(page: Path) -> None:
    for words in [span.split() for span in spans(page) if span.startswith("tim3d ")]:
        assert words[1] in COMMANDS, words
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options_of(words[1]), words


@each(PAGES, name)
def test_options_in_the_text_are_ones_that_there_are(page: Path) -> None:
    known = {"--death-timeout", "--requeue", "--user"}.union(*map(options_of, COMMANDS))
    assert {
        span.split()[0].partition("=")[0] for span in spans(page) if span.startswith("--")
    } <= known


@each(DOCUMENTS, name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    for link in [link.partition("#")[0] for link in links if "://" not in link]:
        assert (page.parent / link).exists(), link


@each(PAGES, name)
def test_the_first_page_leads_to_all_others(page: Path) -> None:
    first = (ROOT / "README.md").read_text()
    assert page == ROOT / "README.md" or f"]({name(page)})" in first


@each([*DOCUMENTS, *RECIPES], name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", page.read_text())
    named += [found for span in spans(page) for found in re.findall(r"^[\w./-]+\.py\b", span)]
    for path in named:
        assert (ROOT / path).exists() or any(file.endswith(f"/{path}") for file in FILES), path


def test_tests_that_are_named_exist() -> None:
    named = {(file, test) for page in DOCUMENTS for file, test in named_tests(page)}
    assert len(named) > 10
    for file, test in named:
        found = "\n".join((ROOT / path).read_text() for path in FILES if path.endswith(f"/{file}"))
        begin, end = test.removesuffix("…"), "" if test.endswith("…") else r"\("
        assert re.search(rf"^ *def {begin}{end}", found, re.MULTILINE), (file, test)


def named_tests(page: Path) -> Iterator[tuple[str, str]]:
    """File and test; a file that is left out (…) is the one before."""
    last = ""
    for file, test in re.findall(r"`(test_\w+\.py|…)::(\w+…?)", page.read_text()):
        last = last if file == "…" else file
        yield last, test


@each(DOCUMENTS, name)
def test_names_of_the_package_are_there(page: Path) -> None:
    for dotted in {
        found for span in spans(page) for found in re.findall(r"^tim3d(?:\.[A-Za-z_]\w*)+", span)
    }:
        resolve(dotted)


def resolve(dotted: str) -> Any:
    """A module, or what a module holds, by its dotted name."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name and not dotted.startswith(error.name):
            return None  # a package that is not installed
    module, _, own = dotted.rpartition(".")
    return getattr(importlib.import_module(module), own)


def test_extras_that_are_named_can_be_installed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {
        extra
        for path in [*DOCUMENTS, *(ROOT / "tim3d").rglob("*.py")]
        for found in re.findall(r"tim3d\[([a-z0-9,]+)\]", path.read_text())
        for extra in found.split(",")
    }
    assert {"seg", "gpu"} <= named <= set(extras)


@each(DOCUMENTS, name)
def test_make_has_what_is_asked_of_it(page: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [*spans(page), *"\n".join(fenced(page, "shell")).splitlines()]
    asked = [
        [word for word in command.partition("#")[0].split() if "=" not in word][-1]
        for command in commands
        if command.startswith("make ")
    ]
    assert set(asked) <= set(targets)


CALLS = [
    (name(page), call)
    for page in PAGES
    for block in fenced(page, "python")
    if ">>>" not in block
    for call in ast.walk(ast.parse(block))
    if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("tim3d.")
]


@each(CALLS, lambda case: f"{case[0]}: {ast.unparse(case[1])}")
def test_python_takes_every_call(case: tuple[str, ast.Call]) -> None:
    call = case[1]
    function = getattr(tim3d, ast.unparse(call.func).removeprefix("tim3d."))
    inspect.signature(function).bind(
        *call.args, **{key.arg: key.value for key in call.keywords if key.arg}
    )
