"""From a table to numbers that can be related; what cannot be learned from them is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.descriptors.uncertainty import OF_DRAWS
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.statistics.model_search import Subset, subsets
from tim3d.kernels.statistics.regression import F64, fewest_samples
from tim3d.lazy import xarray as xr
from tim3d.relating.files import numeric
from tim3d.relating.formulas import Derived, derived
from tim3d.relating.question import Question
from tim3d.relating.samples import refuse_mixed
from tim3d.spelling import suggestion

log = logging.getLogger(__name__)
# Ending of a column that holds the standard uncertainty of another.
ERROR = "_error"
# A column whose values differ by less than this share of their size is constant.
CONSTANT = 1e-9
# Two columns that correlate to within this are one.
SAME = 1e-10
# Reasons that an error states; what is to be left out is listed in full.
MOST_SAID = 6
# Without three samples (one is judged, one is left out of its interval, one inside the search) a
# model has to leave a degree of freedom.
LEFT_OUT, FREE = 3, 1
MOST_MODELS = 50_000
# Curvatures this much smaller than usual make a quotient that is decided by one sample.
NEARLY_ZERO = 0.05


@dataclass(frozen=True)
class Problem:
    """Features and target of some samples.

    Parameters
    ----------
    samples, names : list of str
        Samples, and features.
    x, y : (n, p) and (n,)
        Features and target, or the logarithm of the target.
    candidates : list of tuple of int
        Features of each model.
    groups : list of str, optional
        Group of each sample.
    table : xarray.Dataset
        Rows of these samples, with all columns.
    held : xarray.Dataset
        Rows that were held out, with all columns.
    derived : mapping of str to Derived
        Features that are made of columns.
    """

    samples: list[str]
    names: list[str]
    x: F64
    y: F64
    candidates: list[Subset]
    groups: list[str] | None
    table: xr.Dataset
    held: xr.Dataset
    derived: Mapping[str, Derived]

    @property
    def group_numbers(self) -> NDArray[np.intp] | None:
        """Number of the group of each sample."""
        if self.groups is None:
            return None
        known = list(dict.fromkeys(self.groups))
        return np.array([known.index(g) for g in self.groups], np.intp)

    def unit(self, name: str) -> str:
        """Unit of a column; empty if it says none."""
        return str(self.table[name].attrs.get("units", ""))

    def held_x(self) -> F64:
        """Features of the samples that were held out."""
        return _matrix(self.held, self.names)


def problem(table: xr.Dataset, question: Question) -> Problem:
    """Numbers of the question.

    Raises
    ------
    ArgumentError
        If a column does not exist, or the question is too large for the samples.
    InputError
        If values are missing or not finite, a feature is constant, is the target or is another
        feature, or columns were measured in different ways.
    """
    made = {name: derived(name, text) for name, text in question.derive.items()}
    _refuse_unknown(table, question, made)
    held = _rows(table, question.hold_out)
    used = table.drop_sel(sample=list(question.hold_out))
    names = question_features(table, question, made)
    read = _columns_read(question, names, made)
    refuse_mixed(table, read)
    _refuse_texts(table, read)
    _refuse_missing(used, read)
    _refuse_missing(held, [n for n in read if n != question.target])
    used, held = _with_derived(used, made), _with_derived(held, made)
    x, y = _matrix(used, names), np.asarray(used[question.target].values, np.float64)
    _refuse_unlearnable(x, y, names, question)
    found = Problem(
        used["sample"].values.tolist(), names, x, _target(y, used, question), _candidates(names, question),
        _groups(used, question), used, held, made,
    )  # fmt: skip
    _refuse_too_few(found, question)
    return found


def question_features(table: xr.Dataset, question: Question, made: Mapping[str, Any]) -> list[str]:
    """Candidate features: those that were named, or all columns of numbers and all that are made."""
    if named := question.fixed or question.features:
        return list(named)
    spent = {question.target, question.group, question.physics.get("solved"), *question.leave_out}
    every = [n for n in numeric(table) if n not in spent and not _is_error(n, table)]
    # What a feature is made of stays a candidate: the search decides.
    return [*every, *(n for n in made if n not in question.leave_out)]


def _is_error(name: str, table: xr.Dataset) -> bool:
    """Whether a column is an error of another one, or a limit of its interval over draws."""
    limit = str(table[name].attrs.get("method", "")).startswith(OF_DRAWS)
    return limit or (name.endswith(ERROR) and name.removesuffix(ERROR) in table)


def _columns_read(
    question: Question, names: Sequence[str], made: Mapping[str, Derived]
) -> list[str]:
    inputs = [c for n in names if n in made for c in made[n].columns]
    own = [n for n in names if n not in made]
    return list(dict.fromkeys([question.target, *own, *inputs, *question.physics.values()]))


def _refuse_unknown(table: xr.Dataset, question: Question, made: Mapping[str, Derived]) -> None:
    columns = {
        "--target": [question.target],
        "--features": question.features or (),
        "--fixed": question.fixed or (),
        "--leave-out": question.leave_out,
        "--group": [question.group] if question.group else (),
        "--physics": question.physics.values(),
        "--derive": [c for one in made.values() for c in one.columns],
    }
    for option, names in columns.items():
        makes = made if option in ("--features", "--fixed", "--leave-out") else {}
        for name in names:
            if name not in table and name not in makes:
                known = list(map(str, table.data_vars))
                raise ArgumentError(
                    f"{option}: no column {name!r}{suggestion(name, known)}; there are {_few(known)}"
                )
    if twice := [n for n in made if n in table]:
        raise ArgumentError(
            f"--derive makes {twice[0]!r}, and the table has such a column: give another name"
        )


def _few(names: Sequence[str], most: int = 12, between: str = ", ") -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def _rows(table: xr.Dataset, samples: Sequence[str]) -> xr.Dataset:
    known = table["sample"].values.tolist()
    for name in samples:
        if name not in known:
            raise ArgumentError(
                f"--hold-out: no sample {name!r}{suggestion(name, known)}; there are {_few(known)}"
            )
    return table.sel(sample=list(samples))


def _refuse_texts(table: xr.Dataset, names: Sequence[str]) -> None:
    for name in names:
        if table[name].dtype.kind not in "fiub":
            texts = [str(v) for v in table[name].values]
            shown = next((t for t in texts if not _is_number(t)), texts[0])
            raise InputError(
                f"{name} is a column of texts ({shown!r} ...), and numbers are related: name another one"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text
    return True


def _refuse_missing(table: xr.Dataset, names: Sequence[str]) -> None:
    wrong = [
        (name, str(sample))
        for name in names
        for sample, value in zip(table["sample"].values, table[name].values, strict=True)
        if not np.isfinite(value)
    ]
    if wrong:
        columns = list(dict.fromkeys(name for name, _ in wrong))
        samples = list(dict.fromkeys(sample for _, sample in wrong))
        raise InputError(
            f"{len(wrong)} values are missing or not finite: {_few(columns, 4)} of "
            f"{_few(samples, 4)}. Measure them, leave "
            f"the columns out (--leave-out {','.join(columns[:4])}), or the samples (--hold-out "
            f"{','.join(samples[:4])}), "
            "which are then predicted if their features are known"
        )


def _with_derived(table: xr.Dataset, made: Mapping[str, Derived]) -> xr.Dataset:
    columns = {str(n): np.asarray(table[n].values, np.float64) for n in numeric(table)}
    units = {n: str(table[n].attrs.get("units", "")) for n in columns}
    for name, one in made.items():
        values = one.of(columns, units)
        if (wrong := ~np.isfinite(values)).any():
            raise InputError(
                f"{name} is not defined for {table['sample'].values[int(np.argmax(wrong))]}: it "
                f"needs {one.formula.domain}"
            )
        _flag_nearly_singular(name, one, columns)
        table = table.assign(
            {name: ("sample", values, {"units": "1", "long_name": one.formula.meaning})}
        )
    return table


def _flag_nearly_singular(name: str, one: Derived, columns: Mapping[str, F64]) -> None:
    if one.formula.powers != (-1, -2, 1):
        return
    size = np.abs(columns[one.columns[1]])
    if size.size and size.min() < NEARLY_ZERO * np.median(size):
        log.warning(
            "%s divides by %s, which is close to 0 in a sample: one sample may decide it",
            name,
            one.columns[1],
        )


def _matrix(table: xr.Dataset, names: Sequence[str]) -> F64:
    return np.stack([np.asarray(table[n].values, np.float64) for n in names], axis=1)


def _target(y: F64, table: xr.Dataset, question: Question) -> F64:
    if not question.log_target:
        return y
    if (y <= 0).any():
        sample = table["sample"].values[int(np.argmax(y <= 0))]
        raise InputError(
            f"{question.target} is {y.min():g} in {sample}, and --log-target needs numbers above 0: leave it out"
        )
    return np.log(y)


def _refuse_unlearnable(x: F64, y: F64, names: Sequence[str], question: Question) -> None:
    """Refuse constants, the target among the features, and columns that are one: all of them at once."""
    columns = {question.target: y, **dict(zip(names, x.T, strict=True))}
    flat = [n for n, v in columns.items() if np.ptp(v) <= CONSTANT * np.abs(v).max()]
    alike = _alike({n: v for n, v in columns.items() if n not in flat})
    wrong = [*flat, *(n for others in alike.values() for n in others)]
    if not wrong:
        return
    said = [_alike_text(one, others, question) for one, others in alike.items()]
    if flat:
        is_or_are = "is" if len(flat) == 1 else "are"
        said.insert(
            0,
            f"{_few(flat)} {is_or_are} the same in all samples, from which nothing is learned",
        )
    raise InputError(f"{_few(said, MOST_SAID, '; ')}: {_out(wrong, names, question)}")


def _alike(columns: Mapping[str, F64]) -> dict[str, list[str]]:
    """Columns that are another one, scaled, by the first of each kind."""
    names = list(columns)
    if len(names) < 2:
        return {}
    same = np.abs(np.corrcoef(np.stack(list(columns.values())))) >= 1 - SAME
    found: dict[str, list[str]] = {}
    taken: set[str] = set()
    for place, name in enumerate(names):
        others = [
            n
            for n in np.array(names)[place + 1 :][same[place, place + 1 :]].tolist()
            if n not in taken
        ]
        if name not in taken and others:
            found[name] = others
            taken.update(others)
    return found


def _alike_text(one: str, others: Sequence[str], question: Question) -> str:
    if one == question.target:
        return (
            f"{_few(others)} {'is' if len(others) == 1 else 'are'} the target {one} itself, scaled"
        )
    return f"{one} and {_few(others)} are one number, scaled (as porosity and density are)"


def _out(wrong: Sequence[str], names: Sequence[str], question: Question) -> str:
    """Option to type so that some features are left out."""
    if question.target in wrong:
        return "name another target"
    if question.fixed or question.features:
        option = "--fixed" if question.fixed else "--features"
        return f"{option} {','.join(n for n in names if n not in wrong) or 'NAME,...'}"
    return f"--leave-out {','.join([*question.leave_out, *wrong])}"


def _candidates(names: Sequence[str], question: Question) -> list[Subset]:
    if question.fixed is not None:
        return [tuple(range(len(names)))]
    largest = min(question.largest, len(names))
    smallest = min(question.smallest, largest)
    count = sum(comb(len(names), k) for k in range(smallest, largest + 1))
    if count > MOST_MODELS:
        raise ArgumentError(
            f"{len(names)} features give {count} models of up to {largest}; at most {MOST_MODELS} "
            f"are searched. Name fewer "
            "features (--features), or smaller models (--largest)"
        )
    return subsets(len(names), smallest, largest)


def _groups(table: xr.Dataset, question: Question) -> list[str] | None:
    if question.group is None:
        return None
    groups = [str(v) for v in table[question.group].values]
    if wrong := [
        s for s, g in zip(table["sample"].values, groups, strict=True) if g in ("", "nan")
    ]:
        raise InputError(
            f"{question.group} is empty for {_few(wrong, 4)}: name the group of every sample"
        )
    return groups


def _refuse_too_few(found: Problem, question: Question) -> None:
    n, k, p = len(found.samples), max(map(len, found.candidates)), len(found.names)
    for why in _too_few(n, k, p, found.groups, question):
        raise ArgumentError(why)


def _too_few(
    n: int, k: int, p: int, groups: Sequence[str] | None, question: Question
) -> Iterator[str]:
    needed = k + 1 + LEFT_OUT + FREE
    if n < needed:
        most = n - 1 - LEFT_OUT - FREE
        cure = f"--largest {most}" if most >= 1 and not question.fixed else "measure more samples"
        yield f"{n} samples cannot teach a model of {k} features, which needs {needed}: {cure}"
    if p >= n and question.fixed is None:
        yield (
            f"{p} features are searched with {n} samples: chance alone would fit them. Name fewer than {n} "
            "for which there is a reason: --features A,B,C"
        )
    if fewest_samples(question.level) > n - 1:
        highest = int(100 * (n - 1) / n) / 100
        yield (
            f"an interval of level {question.level:g} needs {fewest_samples(question.level) + 1} "
            f"samples, there are {n}: --level {highest:g}"
        )
    if groups is not None:
        sizes = [groups.count(g) for g in dict.fromkeys(groups)]
        if len(sizes) < 2 or len(sizes) == n:
            yield (
                f"--group {question.group} has {len(sizes)} groups of {n} samples: name a column "
                f"by which samples belong together"
            )
        elif n - max(sizes) < k + 3:
            yield (
                f"without the largest group of {question.group} {n - max(sizes)} samples are left, "
                f"too few for {k} features: "
                f"--largest {max(1, n - max(sizes) - 3)}"
            )
