"""Progress bars in a terminal or a notebook, never in a pipe or a file."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm


def progress_bar(*given: Any, shown: bool = True, **how: Any) -> tqdm[Any]:
    """A bar of tqdm on standard error, or one that prints nothing.

    Parameters
    ----------
    *given, **how : object
        What `tqdm` takes.
    shown : bool
        Whether there is anything to show. Nothing is if standard error is a pipe or a file: a bar
        would fill it with returns and copies of itself.
    """
    return tqdm(*given, **how, disable=not (shown and is_watched(sys.stderr)), leave=False)


def is_watched(stream: TextIO) -> bool:
    """Whether a stream is a terminal, or the output of a notebook's cell."""
    return stream.isatty() or type(stream).__module__.partition(".")[0] == "ipykernel"
