"""Exceptions of tim3d: each is also the matching built-in, and has an exit code for the shell.

A message states what was found, what was expected, where, and what to type.
"""

from __future__ import annotations


class Tim3dError(Exception):
    """Base of all errors that tim3d raises deliberately."""

    exit_code = 1

    def __str__(self) -> str:
        # KeyError and OSError format their message; ours is already a sentence.
        return " ".join(str(part) for part in self.args)


class ArgumentError(Tim3dError, ValueError):
    """An argument is out of its range, or two arguments contradict each other."""

    exit_code = 2


class InputError(Tim3dError, ValueError):
    """Input data cannot be used: missing, unreadable, of the wrong kind or inconsistent size."""

    exit_code = 3


class CheckpointError(InputError):
    """A model file is damaged, of another architecture, or does not fit the sample."""


class StoreError(Tim3dError):
    """A sample on disk cannot be used as it is."""

    exit_code = 4


class SchemaError(StoreError, ValueError):
    """A node of a sample breaks the data model, or was written by a newer tim3d."""


class MissingFieldError(StoreError, KeyError):
    """A verb needs a field that the sample does not have."""


class MixedRunError(StoreError, ValueError):
    """Stored data were computed with other inputs, parameters or blocks than requested."""


class LockedError(StoreError, RuntimeError):
    """Another run is writing to this sample."""


class WriteError(StoreError, OSError):
    """The sample's folder cannot be written: read-only, full or gone."""


class MemoryPlanError(Tim3dError, MemoryError):
    """The plan needs more memory than a worker has."""

    exit_code = 5


class FailedBlocksError(Tim3dError, RuntimeError):
    """Some blocks failed at every attempt; they were set aside and the others finished."""

    exit_code = 6


class ConvergenceError(Tim3dError, ArithmeticError):
    """An iteration did not reach its tolerance."""

    exit_code = 6


class MissingExtraError(Tim3dError, ImportError):
    """A required optional package is not installed."""

    exit_code = 7


class DeviceError(Tim3dError, RuntimeError):
    """The requested device or cluster is not available."""

    exit_code = 7
