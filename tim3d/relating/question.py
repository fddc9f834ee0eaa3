"""Question to a table: target, features, and how models of them are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.kernels.statistics.importance import MOST_FEATURES
from tim3d.kernels.statistics.regression import F64
from tim3d.relating.formulas import derived
from tim3d.relating.physics import check_roles


@dataclass(frozen=True)
class Question:
    """Arguments of `tim3d.relate` that decide numbers, as it documents them."""

    target: str
    features: tuple[str, ...] | None = None
    leave_out: tuple[str, ...] = ()
    derive: Mapping[str, str] = field(default_factory=dict)
    smallest: int = 1
    largest: int = 3
    fixed: tuple[str, ...] | None = None
    group: str | None = None
    hold_out: tuple[str, ...] = ()
    log_target: bool = False
    physics: Mapping[str, str] = field(default_factory=dict)
    bulk: float | None = None
    contrast: float = 0.0
    gaussian_process: bool = False
    level: float = 0.9
    permutations: int = 999
    draws: int = 1000
    seed: int = 0

    def check(self) -> None:
        """Refuse what no table could answer.

        Raises
        ------
        ArgumentError
            If an argument is out of its range, or two contradict each other.
        """
        self._check_sizes()
        if not 0.5 <= self.level < 1:
            raise ArgumentError(
                f"--level is {self.level:g}; the share of samples that an interval holds is 0.5 to 1"
            )
        for name, least in (("permutations", 99), ("draws", 100), ("seed", 0)):
            if getattr(self, name) < least:
                raise ArgumentError(f"--{name} is {getattr(self, name)}; it is at least {least}")
        if self.leave_out and self.features is not None:
            raise ArgumentError(
                "--leave-out changes nothing with --features: leave one of them out"
            )
        for name, text in self.derive.items():
            derived(name, text)
        check_roles(self.physics, self.bulk, self.contrast)
        if self.target in (*(self.features or ()), *(self.fixed or ())):
            raise ArgumentError(
                f"{self.target!r} is the target, and no feature: leave it out of the features"
            )

    def _check_sizes(self) -> None:
        if not 1 <= self.smallest <= self.largest <= MOST_FEATURES:
            raise ArgumentError(
                f"models of {self.smallest} to {self.largest} features are asked for; it is 1 to {MOST_FEATURES}: "
                "--smallest 1 --largest 3"
            )
        if self.fixed is not None and not 1 <= len(self.fixed) <= MOST_FEATURES:
            raise ArgumentError(
                f"--fixed names {len(self.fixed)} features; it is 1 to {MOST_FEATURES}"
            )
        if self.fixed is not None and (self.features is not None or self.leave_out):
            raise ArgumentError(
                "--fixed names the model, and nothing is searched: leave out --features and --leave-out"
            )

    def back(self, values: F64) -> F64:
        """Values in the unit of the target, from those of the model."""
        return np.exp(values) if self.log_target else values

    def record(self) -> dict[str, Any]:
        """All of it, for the result."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
