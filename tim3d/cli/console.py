"""Messages, warnings and errors on standard error, with all secrets removed."""

from __future__ import annotations

import logging
import sys
import traceback

from tim3d.credentials import without_secrets
from tim3d.errors import Tim3dError


class _Discreet(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def log_to_stderr(*, quiet: bool = False) -> None:
    """Log messages of tim3d, but only warnings of other packages, to standard error.

    For example, distributed logs its shutdown at length.

    Parameters
    ----------
    quiet : bool
        Show errors and warnings only.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Discreet("%(message)s"))
    handler.addFilter(
        lambda record: record.levelno >= logging.WARNING or record.name.startswith("tim3d")
    )
    logging.basicConfig(level="WARNING", handlers=[handler])
    logging.getLogger("tim3d").setLevel("WARNING" if quiet else "INFO")


def report_error(error: Exception) -> int:
    """Report an error, in one line if it is of tim3d, else in full, and return the exit code."""
    from tim3d.storage.files import in_our_words

    error = in_our_words(error)
    if isinstance(error, Tim3dError):
        print(without_secrets(f"tim3d: {error}"), file=sys.stderr)
        return error.exit_code
    print(without_secrets("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    return 1
