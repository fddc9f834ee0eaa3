"""Limits of masks that are chosen on labelled images, and the file that holds them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.kernels.statistics.pooled_scores import SCORES
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.mask_rules.file import RULE_FILE, Tuned, record_of, write_tuned
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.stages.shared.mask_search import Chosen, JudgedMasks, searched
from tim3d.storage import outputs
from tim3d.storage.schema import fingerprint
from tim3d.typed import Names

log = logging.getLogger(__name__)
K = TypeVar("K")


@dataclass(frozen=True)
class Asked:
    """The limits that are to be chosen.

    Parameters
    ----------
    begin : MaskRule
        The rule, with the limits to begin with.
    names : tuple of str
        Limits that are chosen, in this order.
    score : str
        What is to be high.
    target : Path
        File to write.
    overwrite : bool
        Replace limits that were chosen otherwise.
    """

    begin: MaskRule
    names: tuple[str, ...]
    score: str
    target: Path
    overwrite: bool


def asked_limits(
    rule: str | Path, masks: object, parameters: Names | None, score: str, overwrite: bool
) -> Asked:
    """The arguments of a search for limits, checked.

    Raises
    ------
    ArgumentError
        If one of them is none of its kind.
    """
    target = outputs.check_target(rule, RULE_FILE)
    if target.suffix != ".json":
        raise ArgumentError(f"{target}: a rule for masks is a file that ends with .json")
    begin = masks or AsObjects()
    if not isinstance(begin, MaskRule):
        raise ArgumentError(f"masks {masks!r} have no limits to begin with: --masks objects")
    if score not in SCORES:
        raise ArgumentError(f"score {score!r}: {' or '.join(SCORES)}")
    return Asked(begin, _names(begin, parameters), score, target, overwrite)


def _names(rule: MaskRule, asked: Names | None) -> tuple[str, ...]:
    """Parameters that are chosen."""
    names = tuple([asked] if isinstance(asked, str) else rule.searched if asked is None else asked)
    strange = [name for name in names if name not in rule.searched]
    if strange or not names or len(set(names)) < len(names):
        raise ArgumentError(
            f"--parameters {','.join(names)}: some of those that {rule.kind} has, each once: "
            f"{','.join(rule.searched)}"
        )
    return names


@dataclass(frozen=True)
class ChoosingLimits(ABC, Generic[K]):
    """Checked arguments of a verb that chooses limits on labelled images.

    Parameters
    ----------
    asked : Asked
        The limits.
    """

    asked: Asked

    @property
    @abstractmethod
    def judged(self) -> JudgedMasks[K]:
        """Masks of the images, each drawn once."""

    @abstractmethod
    def tuned(self, rule: MaskRule) -> Tuned:
        """A rule with what it is chosen for, and on."""

    @abstractmethod
    def decides(self) -> Mapping[str, Any]:
        """Whatever decides the limits, for a hash."""

    @property
    @abstractmethod
    def truth(self) -> str:
        """Name of what the masks are judged by."""

    @cached_property
    def mask_folder(self) -> Path:
        """Where masks are kept."""
        return self.asked.target.with_name(f"{self.asked.target.name}.masks")

    @cached_property
    def _question(self) -> str:
        asked = self.asked
        values = {name: asked.begin.searched[name] for name in asked.names}
        return fingerprint(names=asked.names, score=asked.score, values=values, **self.decides())

    def is_done(self) -> bool:
        """Whether the file holds the limits; refuse others without `overwrite`."""
        if self.asked.overwrite or not self.asked.target.exists():
            return False
        if record_of(self.asked.target).get("question") != self._question:
            raise MixedRunError(
                f"{self.asked.target} holds limits that were chosen otherwise. Replace them with --overwrite, or "
                "write to another file"
            )
        return True

    def run(self) -> Path:
        """Choose the limits, unless the file holds them."""
        if self.is_done():
            return self.asked.target
        judged = self.judged
        if not judged.indices:
            raise InputError(f"{self.truth} has no object to judge by")
        found = searched(judged, SCORES[self.asked.score])
        scores = {"begin": found.begin, "chosen": found.chosen, "held_out": found.held_out}
        about = {
            "score": {"name": self.asked.score, **scores}, "parameters": list(self.asked.names),
            "windows": len(judged.indices), "images": judged.digest, "question": self._question,
        }  # fmt: skip
        write_tuned(self.asked.target, self.tuned(found.rule), about)
        self._tell(found)
        return self.asked.target

    def _tell(self, found: Chosen) -> None:
        if found.held_out is None:
            log.warning(
                "one image of %s has an object: what the limits are worth elsewhere is not known. Label another one",
                self.truth,
            )
        if not found.chosen:
            log.warning(
                "no mask agrees with an object of %s by any limit: the limits are those to begin with. Look at the "
                "masks: --masks objects:iou=0,stability=0",
                self.truth,
            )
        held = found.held_out
        said = "" if held is None else f"; {held:.3f} on images that did not choose them"
        log.info("%s %.3f, before %.3f%s", self.asked.score, found.chosen, found.begin, said)
