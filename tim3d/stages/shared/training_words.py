"""Words of `train` about losses, classes and crops, in the form that a training records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.losses import DEFAULT, losses_of
from tim3d.models.segmentation.sem_augmentation import changes_of
from tim3d.spelling import suggestion


def recorded_losses(words: Sequence[str] | None) -> tuple[str, ...]:
    """Losses in one spelling, so that equal ones are one training.

    >>> recorded_losses(["focal:gamma=2", "dice:weight=0.50"])
    ('focal', 'dice:weight=0.5')
    """
    return DEFAULT if words is None else tuple(map(str, losses_of(_listed(words))))


def recorded_changes(words: Sequence[str] | None) -> tuple[str, ...]:
    """Changes of crops in one spelling and in the order in which they are made.

    >>> recorded_changes(["blur:pixels=3.0", "elastic"])
    ('elastic', 'blur:pixels=3')
    """
    return tuple(map(str, changes_of(_listed(words or ()))))


def in_order(weights: Mapping[str, float] | None, classes: Sequence[str]) -> tuple[float, ...]:
    """Weights in the order of the classes; none if none are given.

    >>> in_order({"solid": 1, "pore": 3}, ("pore", "solid"))
    (3.0, 1.0)

    Raises
    ------
    ArgumentError
        If a class has none, or a name is not of a class.
    """
    if not weights:
        return ()
    if unknown := next((name for name in weights if name not in classes), None):
        raise ArgumentError(
            f"no class {unknown!r}{suggestion(unknown, classes)}; there are {', '.join(classes)}"
        )
    if lacking := [name for name in classes if name not in weights]:
        text = ",".join(f"{name}={weights.get(name, 1):g}" for name in classes)
        raise ArgumentError(
            f"the weights of classes leave out {', '.join(lacking)}: --class-weights {text}"
        )
    return tuple(float(weights[name]) for name in classes)


def _listed(words: Sequence[str]) -> Sequence[str]:
    return [words] if isinstance(words, str) else words
