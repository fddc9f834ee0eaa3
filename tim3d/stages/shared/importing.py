"""Import of a file of another program: the file is made beside first, and what is there is compared with it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tim3d.engine import Outline
from tim3d.errors import MixedRunError
from tim3d.forecast import expect, will_exist
from tim3d.stages.shared.awaited import cannot_plan


@dataclass(frozen=True)
class Import:
    """A file of another program, and the file to write.

    Parameters
    ----------
    verb, kind : str
        The verb, and what later steps of a recipe may rely on: "network" or "generator".
    checkpoint, weights : Path
        File to read and file to write.
    overwrite : bool
        Replace a file that holds something else.
    make : callable
        Writes the file to a path; the same input gives the same bytes.
    describe : callable
        Description of such a file.
    """

    verb: str
    kind: Literal["network", "generator"]
    checkpoint: Path
    weights: Path
    overwrite: bool
    make: Callable[[Path], object]
    describe: Callable[[Path], Any]

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file exists; later steps may rely on it."""
        if not self.checkpoint.is_file() and will_exist(str(self.checkpoint)):
            return cannot_plan(self.verb, str(self.checkpoint))
        with tempfile.TemporaryDirectory() as folder:
            made = self._made(folder)
            if self._is_there(made):
                return []
            expect(self.kind, str(self.weights), self.describe(made))
        return [Outline(self.verb, f"writes {self.weights} from {self.checkpoint}")]

    def run(self) -> Path:
        """Write the file unless it exists."""
        with tempfile.TemporaryDirectory() as folder:
            if self.overwrite or not self._is_there(self._made(folder)):
                self.make(self.weights)
        return self.weights

    def _made(self, folder: str) -> Path:
        made = Path(folder) / "made.safetensors"
        self.make(made)
        return made

    def _is_there(self, made: Path) -> bool:
        if self.overwrite or not self.weights.exists():
            return False
        if not self.weights.is_file() or self.weights.read_bytes() != made.read_bytes():
            raise MixedRunError(
                f"{self.weights} holds something else. Replace it with --overwrite, or write to another file"
            )
        return True
