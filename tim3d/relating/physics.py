"""Predictions of a conductivity without regression: bounds, laws, and the solver's own value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.conduction import bounds
from tim3d.kernels.statistics.regression import F64
from tim3d.spelling import suggestion

ROLES = ("density", "tortuosity", "constrictivity", "solved")


@dataclass(frozen=True)
class Law:
    """A conductivity relative to that of the conducting phase.

    Parameters
    ----------
    needs : tuple of str
        Roles of the columns that it takes.
    relative : callable
        ``relative(contrast, *columns)``, with the conductivity of the other phase relative to the
        conducting one.
    reference : str
        Source.
    """

    needs: tuple[str, ...]
    relative: Callable[..., F64]
    reference: str


def _bound(kind: Callable[..., tuple[float, float]], which: int) -> Callable[..., F64]:
    def relative(contrast: float, density: F64) -> F64:
        return np.array([kind([d, 1 - d], [1.0, contrast])[which] for d in density])

    return relative


WIENER = "Abh. Math.-Phys. Kl. Koenigl. Saechs. Ges. Wiss. 32 (1912) 509"
LAWS: Mapping[str, Law] = {
    "Wiener, upper": Law(("density",), _bound(bounds.wiener, 1), WIENER),
    "Wiener, lower": Law(("density",), _bound(bounds.wiener, 0), WIENER),
    "Hashin-Shtrikman, upper": Law(
        ("density",), _bound(bounds.hashin_shtrikman, 1), "doi:10.1063/1.1728579"
    ),
    "Hashin-Shtrikman, lower": Law(
        ("density",), _bound(bounds.hashin_shtrikman, 0), "doi:10.1063/1.1728579"
    ),
    "Bruggeman, D^1.5": Law(("density",), lambda _, d: d**1.5, "doi:10.1002/andp.19354160705"),
    "Stenzel": Law(
        ("density", "tortuosity", "constrictivity"),
        lambda _, d, t, c: d**1.15 * c**0.37 / t**4.39,
        "doi:10.1002/aic.15160",
    ),
    "solved on the volume": Law(("solved",), lambda _, k: k, "doi:10.1016/j.softx.2016.09.002"),
}


def check_roles(roles: Mapping[str, str], bulk: float | None, contrast: float) -> None:
    """Refuse an unknown role, and numbers that no material has.

    Raises
    ------
    ArgumentError
        If a role is not known, or a number is out of its range.
    """
    for role in roles:
        if role not in ROLES:
            raise ArgumentError(
                f"--physics has no {role!r}{suggestion(role, ROLES)}; it takes {', '.join(ROLES)}"
            )
    if not roles and (bulk is not None or contrast):
        name = "--contrast" if bulk is None else "--bulk"
        raise ArgumentError(f"{name} is used by --physics only: --physics density=COLUMN")
    if bulk is not None and not 0 < bulk < math.inf:
        raise ArgumentError(f"--bulk is {bulk:g}; a conductivity is above 0, and finite")
    if not 0 <= contrast <= 1:
        raise ArgumentError(
            f"--contrast is {contrast:g}: the conductivity of the other phase divided by that of "
            f"the conducting one, 0 to 1"
        )


def relative(columns: Mapping[str, F64], contrast: float) -> dict[str, F64]:
    """Relative conductivity of all samples by every law that has its columns and is not 0.

    Parameters
    ----------
    columns : mapping of role to array
        What is known of the samples.
    contrast : float
        Conductivity of the other phase relative to the conducting one.
    """
    found = {
        name: law.relative(contrast, *(columns[role] for role in law.needs))
        for name, law in LAWS.items()
        if set(law.needs) <= set(columns)
    }
    return {name: values for name, values in found.items() if (values > 0).all()}


def refuse_impossible(role: str, name: str, values: F64, samples: list[str]) -> None:
    """Refuse a column that cannot be what it is said to be.

    Raises
    ------
    InputError
        If a density is not between 0 and 1, a tortuosity below 1, or anything not positive.
    """
    wrong = {
        "density": (values <= 0) | (values >= 1),
        "tortuosity": values < 1,
        "constrictivity": (values <= 0) | (values > 1),
    }.get(role, values <= 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"{name} is {values[at]:g} in {samples[at]}, which is no {role}. Name another column: "
            f"--physics {role}=COLUMN"
        )


def scaled(
    predicted: F64, measured: F64, factor: float | None, *, log_target: bool
) -> tuple[F64, F64, int]:
    """Fitted and left-out predictions of a law, and how many numbers were fitted, 0 or 1.

    Without a factor it is fitted: by least squares through the origin, or as the mean difference of
    logarithms. With `log_target` both arrays are logarithms.
    """
    if factor is not None:
        known = predicted + np.log(factor) if log_target else predicted * factor
        return known, known, 0
    if log_target:
        fitted = predicted + (measured - predicted).mean()
        leverage = np.full(len(measured), 1 / len(measured))
    else:
        fitted = predicted * (predicted @ measured) / (predicted @ predicted)
        leverage = predicted**2 / (predicted @ predicted)
    return fitted, np.asarray(measured - (measured - fitted) / (1 - leverage)), 1
