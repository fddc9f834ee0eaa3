"""Network and settings of inference, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.dropout import Pass

Precision: TypeAlias = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True, slots=True)
class Predictor:
    """Network and settings of inference; small and picklable, to be sent to workers.

    Parameters
    ----------
    checkpoint : str
        Path of the file.
    sha256 : str
        Digest of the file when the run was planned; a file with another digest is refused.
    device : str
        "cpu", "cuda" or "cuda:1".
    batch : int
        Windows in a call; affects the last bits of the result.
    threads : int
        CPU threads of torch in a call; affects the last bits of the result.
    precision : {"fp32", "fp16", "bf16"}
        Arithmetic of the convolutions: fp16 (on CUDA only) and bf16 are mixed precision, and are
        compared with fp32 when the network is loaded.
    normalisation : Normalisation, optional
        Normalisation of the volume to segment (default: from the checkpoint).
    dropping : Pass, optional
        Pass with dropout (default: nothing is dropped).

    Raises
    ------
    ArgumentError
        If a number is not positive, or fp16 is requested on a CPU.
    """

    checkpoint: str
    sha256: str
    device: str = "cpu"
    batch: int = 1
    threads: int = 1
    precision: Precision = "fp32"
    normalisation: Normalisation | None = None
    dropping: Pass | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or self.threads < 1:
            raise ArgumentError(f"batch {self.batch} and threads {self.threads} must be 1 or more")
        if self.precision not in ("fp32", "fp16", "bf16"):
            raise ArgumentError(f"precision is {self.precision!r}; choose fp32, fp16 or bf16")
        if self.precision == "fp16" and self.device == "cpu":
            raise ArgumentError("fp16 needs a CUDA device; use precision='fp32' on the CPU")
