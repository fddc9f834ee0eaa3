"""Worker processes on this machine: check of the user's script, and errors when they start."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tim3d.errors import ArgumentError, DeviceError, Tim3dError


def refuse_unguarded() -> None:
    """Refuse to start processes from a line of the user's script that each of them would run again.

    A new process imports the script before anything else. A line outside of
    ``if __name__ == "__main__":`` would start workers in every worker.

    Raises
    ------
    ArgumentError
        With the script and the line.
    """
    main = sys.modules["__main__"]
    script, package = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    # With python -m package the module __main__ is never imported again.
    if script is None or (package is not None and package.name.endswith("__main__")):
        return
    line = _line_of(script)
    if line is not None and not _is_guarded(Path(script), line):
        raise ArgumentError(
            f"{script}, line {line}, asks for worker processes, each of which runs the script again when it starts: "
            'put that line and what follows below  if __name__ == "__main__":'
        )


def _line_of(script: str) -> int | None:
    """Line of the script itself that is running now; None outside of a script."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename == script:
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guarded(script: Path, line: int) -> bool:
    """Whether a line is in an ``if`` on the module's name; True if the script cannot be parsed."""
    try:
        body = ast.parse(script.read_text()).body
    except (OSError, SyntaxError, ValueError):
        return True
    around = [node for node in body if node.lineno <= line <= (node.end_lineno or node.lineno)]
    return any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in around)


@contextlib.contextmanager
def starting(kind: str) -> Iterator[None]:
    """Turn dask's errors about processes that do not start into one `DeviceError`."""
    try:
        yield
    except Tim3dError:
        raise
    except (OSError, RuntimeError, TimeoutError) as error:
        cause = error.__cause__ or error
        raise DeviceError(
            f"cluster {kind!r} did not start: {cause}. A worker process ended or did not answer, for example for want "
            "of memory: run the same command again, with fewer --workers if it happens again"
        ) from error
