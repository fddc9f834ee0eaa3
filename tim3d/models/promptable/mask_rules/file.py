"""A rule for masks with limits that were chosen on labelled images, in a file of JSON.

The file says what the limits were chosen on, so that they are not judged by the same images.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from tim3d.errors import ArgumentError, InputError
from tim3d.forecast import expected, is_forecasting
from tim3d.models.promptable.mask_rules import RULES
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.promptable import Promptable
from tim3d.models.promptable.prompting.base import Prompting
from tim3d.models.segmentation.training_record import Learnt
from tim3d.steps import Step
from tim3d.storage import outputs

log = logging.getLogger(__name__)

MARK, SCHEMA = "mask rule", 1
RULE_FILE = outputs.Kind(
    "a rule for masks of tim3d", lambda data: b'"tim3d": "mask rule"' in data[:60]
)


@dataclass(frozen=True)
class RuleFile(Step):
    """A rule whose limits `tim3d tune-masks` chose.

    Parameters
    ----------
    path : path
        The file.
    empty : {"", "refuse", "accept"}
        What happens where no mask is left, if it is not what the file says.
    """

    path: str | Path
    empty: str = ""
    kind: ClassVar[str] = "file"

    def read(self) -> Tuned:
        """Rule of the file, or the one that an earlier step of a recipe has yet to choose."""
        planned: Tuned | None = expected("file", str(self.path))
        found = planned or read_tuned(Path(self.path))
        return replace(found, rule=replace(found.rule, empty=self.empty or found.rule.empty))


@dataclass(frozen=True)
class Tuned:
    """A rule whose limits were chosen, and what they were chosen on.

    Parameters
    ----------
    rule : MaskRule
        The rule.
    network : str
        Digest of the network whose masks were looked at.
    prompts : str
        Word of its prompts.
    learnt : tuple of Learnt
        Slices that the limits were chosen on.
    sha256 : str
        Digest of the file.
    images : mapping of str to str
        Names of single images that the limits were chosen on, by the SHA-256 of their files.
    """

    rule: MaskRule
    network: str
    prompts: str
    learnt: tuple[Learnt, ...]
    sha256: str = ""
    images: Mapping[str, str] = field(default_factory=dict)


def write_tuned(path: Path, tuned: Tuned, about: Mapping[str, Any]) -> None:
    """Write a rule; the file appears whole or not at all."""
    content = {
        "tim3d": MARK,
        "schema": SCHEMA,
        "rule": tuned.rule.description(),
        "network": tuned.network,
        "prompts": tuned.prompts,
        "learnt_from": [one.to_json() for one in tuned.learnt],
        **({"learnt_images": dict(tuned.images)} if tuned.images else {}),
        **about,
    }
    outputs.write_file(path, (json.dumps(content, indent=2) + "\n").encode(), RULE_FILE)


def record_of(path: Path) -> dict[str, Any]:
    """All that a file holds.

    Raises
    ------
    InputError
        If it is missing or no such file.
    """
    cure = f"Make one: tim3d tune-masks SAMPLE {path}"
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a rule for masks: {error}. {cure}") from error
    if not isinstance(found, dict) or (found.get("tim3d"), found.get("schema")) != (MARK, SCHEMA):
        raise InputError(f"{path} is not a rule for masks of this version. {cure}")
    return found


def read_tuned(path: Path) -> Tuned:
    """Read a rule.

    Raises
    ------
    InputError
        If the file is missing or damaged, or one of its limits is out of range.
    """
    found = record_of(path)
    try:
        rule = _rule(dict(found["rule"]), path)
        learnt = tuple(map(Learnt.from_json, found["learnt_from"]))
        images = {str(sha): str(name) for sha, name in found.get("learnt_images", {}).items()}
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged or was edited: {error!r}") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Tuned(rule, str(found["network"]), str(found["prompts"]), learnt, digest, images)


def _rule(given: dict[str, Any], path: Path) -> MaskRule:
    """Rule of a description; the version is looked at first, as another one may have other fields."""
    kind, version = given.pop("kind"), given.pop("version")
    module, name = RULES[kind]
    of = getattr(importlib.import_module(module), name)
    if not issubclass(of, MaskRule):
        raise ValueError(f"the rule {kind!r} has no limits")
    if version != of.version:
        raise InputError(
            f"{path} has version {version} of the rule {kind}, and this is {of.version}: choose the limits again"
        )
    rule: MaskRule = of(**given)
    rule.check(())
    return rule


def chosen_rule(
    masks: object, network: Promptable, prompts: Prompting
) -> tuple[MaskRule, Tuned | None]:
    """Rule for the masks of a network, and where its limits come from if a file has them.

    Raises
    ------
    ArgumentError
        If it is not a rule, or its limits were chosen for another network.
    """
    if isinstance(masks, MaskRule):
        return masks, None
    if not isinstance(masks, RuleFile):
        raise ArgumentError(f"masks {masks!r} are not known: --masks objects")
    tuned = masks.read()
    if tuned.network != network.sha256 and not is_forecasting():
        raise ArgumentError(
            f"the limits of {masks.path} were chosen for the masks of another network: tim3d tune-masks SAMPLE "
            f"{masks.path} --overwrite, with this one"
        )
    if tuned.prompts != str(prompts):
        log.warning(
            "the limits of %s were chosen for the prompts %s, and these are %s",
            masks.path, tuned.prompts, prompts,
        )  # fmt: skip
    return tuned.rule, tuned
