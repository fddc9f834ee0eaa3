"""The command line: every verb of tim3d, with the same names as in Python.

Errors are one line and an exit code. COMMAND --help lists the options of a command.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import sys
import textwrap
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, NoReturn

from tim3d.cli import console
from tim3d.cli.commands import COMMANDS, GROUPS, QUIET, Option, guides
from tim3d.cli.parser import Parser
from tim3d.version import __version__

INTERRUPTED = 130
EXIT_CODES = """exit codes: 0 done; 2 a bad argument; 3 bad input data; 4 the sample cannot be used or written;
5 the plan does not fit into memory; 6 blocks failed and were set aside, or a solver did not converge;
7 a package, device or cluster is missing; 130 interrupted (run the same command again); 1 anything else, with a
traceback"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    whole = build_parser(words[:1])
    parsed, unknown = whole.parse_known_args(words)
    given = {key: value for key, value in vars(parsed).items() if value is not None}
    parser: Parser = given.pop("parser", whole)
    if unknown:
        parser.refuse(unknown)
    console.log_to_stderr(quiet=given.pop("quiet", False))
    name, options = given.pop("command"), given.pop("options")
    try:
        act(name, options, given)
    except KeyboardInterrupt:
        print("tim3d: interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # any error is reported without secrets
        return console.report_error(error)
    return 0


def program() -> NoReturn:
    """Run one command as a process, which ends with its exit code."""
    code: list[int] = []
    atexit.register(_end, code)  # what is registered first is called last
    try:
        code.append(main())
    except SystemExit as ended:  # help, and arguments that cannot be parsed
        code.append(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
    sys.exit(code[0])


def _end(code: Sequence[int]) -> None:
    """End a process that has reached for an object store before the interpreter is taken down.

    Threads of obstore outlive their requests. One that asks for the interpreter while it ends aborts
    the process: one in seven ended by SIGABRT after the right message.
    """
    if code and "obstore" in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # its reader may be gone
                stream.flush()
        os._exit(code[0])


def act(name: str, options: Sequence[Option], given: dict[str, Any]) -> None:
    """Carry out a command with the typed arguments."""
    read = {one.name: one.read for one in options}
    COMMANDS[name].action(
        name.replace("-", "_"), {key: read[key](value) for key, value in given.items()}
    )


def overview() -> str:
    """Return the commands by what they are for, each with the first clause of its summary."""
    blocks = []
    for group, names in GROUPS.items():
        clauses = {name: re.split(r"[:;]|\.$", COMMANDS[name].summary)[0] for name in names}
        rows = (_filled(f"  {name:20} {clause}", 23) for name, clause in clauses.items())
        blocks.append("\n".join([f"{group}:", *rows]))
    return "\n\n".join(blocks)


def _filled(text: str, indent: int = 0) -> str:
    width = shutil.get_terminal_size().columns - 2
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)


def build_parser(first: Sequence[str] | None = None) -> Parser:
    """Parser of the command named by the first word; of all commands if it names none."""
    named = [word for word in first or () if word in COMMANDS]
    parser = Parser(
        prog="tim3d",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=None if named else f"{__doc__}\n{overview()}",
        epilog=_filled(EXIT_CODES),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tim3d {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, prog="tim3d", help=SUPPRESS)
    for name, command in ((name, COMMANDS[name]) for name in named or COMMANDS):
        sub = commands.add_parser(name, description=command.summary, epilog=EXIT_CODES)
        if named or first is None:
            options = [*QUIET.below(""), *command.options()]
            sub.add(options)
            for title, text in guides(name):
                sub.add_argument_group(title, text.replace("%", "%%"))
            sub.set_defaults(parser=sub, command=name, options=[option for _, option in options])
    return parser


if __name__ == "__main__":
    program()
