"""Components that lead from face to face of a volume, as bits of its voxels."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import MissingFieldError
from tim3d.forecast import is_forecasting
from tim3d.kernels.morphology.number_bits import bits_of_numbers
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.storage.schema import Field

# Numbers of the components that percolate along z, y and x: few, however many there are.
Through: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def percolating(sample: str, measured: Field, numbers: Field) -> Through:
    """Numbers of the components that touch both faces of each axis.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    measured : Field
        The labels.
    numbers : Field
        Field of components, as `label` keeps it.

    Raises
    ------
    MissingFieldError
        If the result of the same labelling is not there.
    """
    if is_forecasting():
        return ((), (), ())
    record = store.node_attributes(sample, numbers.name)
    question = (record.get("inputs"), record.get("parameters"))
    for node in results_of(sample, "label", measured.name):
        of = store.node_attributes(sample, node)
        if (of.get("inputs"), of.get("parameters")) == question:
            return _both_faces(sample, node)
    raise MissingFieldError(
        f"no result of label says which components of {numbers.name!r} percolate in {sample}. Make it: "
        f"tim3d label {sample} --field {measured.name} --keep --component {numbers.name}"
    )


def _both_faces(sample: str, node: str) -> Through:
    table = store.open_dataset(sample, node)
    both = np.asarray(table["component_touches"].values.all(axis=2))
    ids = np.asarray(table["component"].values)
    z, y, x = (tuple(int(n) for n in ids[both[:, axis]]) for axis in range(3))
    return z, y, x


def through_bits(numbers: NDArray[np.uint32], through: Through) -> NDArray[np.uint8]:
    """Bit a of a voxel whose component percolates along axis a.

    >>> through_bits(np.array([[[0, 3, 7]]], np.uint32), ((3,), (3, 7), ())).tolist()
    [[[0, 3, 2]]]
    """
    ids = sorted(set().union(*through))
    bits = [sum((number in one) << axis for axis, one in enumerate(through)) for number in ids]
    return bits_of_numbers(numbers, np.array(ids, np.uint32), np.array(bits, np.uint8))
