"""Shell command equivalent to a call of a verb.

Every node records its command, so that messages can state how to renew it.
"""

from __future__ import annotations

import contextlib
import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import is_dataclass
from typing import Any

from tim3d.verbs import PYTHON_ONLY, VALUES, is_positional, option_of

SAMPLE = "SAMPLE"
POSITIONAL_OR_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
_current: ContextVar[str] = ContextVar("tim3d_command", default="")


@contextlib.contextmanager
def recording(command: str) -> Iterator[None]:
    """Let nodes record `command` inside the block; a verb called by a verb keeps the outer one."""
    token = _current.set(_current.get() or command)
    try:
        yield
    finally:
        _current.reset(token)


def current_command() -> str:
    """The running command, with ``SAMPLE`` in place of the sample; empty outside of a verb."""
    return _current.get()


def renewal(record: Mapping[str, Any], sample: str) -> str:
    """Command that makes a node again, from its record.

    >>> renewal({"command": "tim3d label SAMPLE --connectivity 26"}, "my cu.zarr")
    "tim3d label 'my cu.zarr' --connectivity 26"
    >>> renewal({"command": "tim3d.segment(SAMPLE, segmenter=Forest(trees=9))"}, "cu.zarr")
    "tim3d.segment('cu.zarr', segmenter=Forest(trees=9))"
    """
    command = str(record.get("command") or "")
    if command.startswith("tim3d."):
        return command.replace(f"({SAMPLE}", f"({sample!r}", 1)
    words = (command or f"tim3d {record.get('verb', 'COMMAND')} {SAMPLE}").split(" ")
    return " ".join(shlex.quote(sample) if word == SAMPLE else word for word in words)


def command_line(verb: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Command of a call, without default arguments and without options of how it runs.

    Parameters
    ----------
    verb : str
        Name of the command.
    function : callable
        The verb; `tim3d.verbs.is_positional` decides which parameters are positional in the shell.
    arguments : mapping of str to object
        The arguments of the call, by name of the parameter.

    Examples
    --------
    >>> def label(sample, *, field="phase", connectivity=6, keep=False): ...
    >>> command_line("label", label, {"sample": "a.zarr", "connectivity": 26, "keep": True})
    'tim3d label SAMPLE --connectivity 26 --keep'
    >>> def measure(sample, descriptors=None): ...
    >>> command_line("measure", measure, {"sample": "a.zarr", "descriptors": ["mean_curvature", "phase_fraction"]})
    'tim3d measure SAMPLE --descriptors mean_curvature,phase_fraction'
    """
    if any(map(_is_python, (arguments.get(name) for name in VALUES))):
        return _python_call(verb, arguments)
    words = ["tim3d", verb.replace("_", "-")]
    for name, parameter in inspect.signature(function).parameters.items():
        value = arguments.get(name, parameter.default)
        needed = parameter.default is inspect.Parameter.empty
        if name in PYTHON_ONLY or value is inspect.Parameter.empty:
            continue
        if name == "sample":
            words.append(SAMPLE)
        elif _is_default(value, parameter.default):
            continue
        elif parameter.kind is POSITIONAL_OR_KEYWORD and is_positional(
            verb, name, parameter.default, needed=needed
        ):
            words += [shlex.quote(text) for text in _each(value)]
        else:
            words += _option(name, value)
    return " ".join(words)


def _is_python(value: Any) -> bool:
    """Whether no text of the shell stands for a value; those of a list have one unless they say not."""
    several = isinstance(value, list | tuple)
    listed = value if several else [value]
    return any(is_dataclass(one) and not getattr(one, "in_shell", several) for one in listed)


def _python_call(verb: str, arguments: Mapping[str, Any]) -> str:
    """Format, as Python code, a call that the shell cannot make."""
    given = [
        f"{name}={value!r}"
        for name, value in arguments.items()
        if name not in ("sample", "options")
    ]
    return f"tim3d.{verb}({', '.join([SAMPLE, *given])})"


def _is_default(value: Any, default: Any) -> bool:
    return bool(value is default or (type(value) is type(default) and value == default))


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option_of(name, on=value)]
    if isinstance(value, list | tuple) and value and all(hasattr(v, "__fspath__") for v in value):
        return [option_of(name), *(shlex.quote(str(v)) for v in value)]
    return [option_of(name), shlex.quote(shell_text(value))]


def _each(value: Any) -> list[str]:
    return (
        [shell_text(v) for v in value] if isinstance(value, list | tuple) else [shell_text(value)]
    )


def shell_text(value: Any) -> str:
    """Format a value as it is typed in the shell.

    >>> shell_text({"copper": 400.0, "pore": [1, 1, 2.5]}), shell_text(slice(0, 5120)), shell_text(("z", "y"))
    ('copper=400,pore=1:1:2.5', '0:5120', 'z,y')
    """
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_colons(item)}" for key, item in value.items())
    if isinstance(value, slice):
        return f"{_bare(value.start)}:{_bare(value.stop)}"
    if isinstance(value, list | tuple):
        return ",".join(_bare(item) for item in value)
    return _bare(value)


def _colons(value: Any) -> str:
    return ":".join(map(_bare, value)) if isinstance(value, list | tuple) else _bare(value)


def _bare(value: Any) -> str:
    """Format a number in full, without a trailing ``.0``."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(getattr(value, "name", value))
