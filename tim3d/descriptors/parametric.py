"""Descriptors with parameters: values whose fields are recorded."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from tim3d.descriptors.base import Descriptor, Material
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.grid import Triple
from tim3d.steps import Step, word


class Parametric(Step):
    """A descriptor with parameters, to be inherited by a frozen dataclass.

    Its word, as ``correlation:lags=64``, is the name under which it is measured and asked for.
    Variables and partials carry the parameters that are not defaults, as ``two_point_lags_64``, so
    that descriptors of other parameters stand beside each other in a sample.

    Attributes
    ----------
    kind, version
        As of every step.
    reads : tuple of Input
        Fields that its partials read.
    """

    reads: ClassVar[tuple[Input, ...]] = (LABELS,)

    @property
    def name(self) -> str:
        """Name by which a user asks for it: its word."""
        return str(self)

    @property
    def suffix(self) -> str:
        """Ending of the names of its variables: every parameter that is not its default."""
        given = {one.name: getattr(self, one.name) for one in self._fields()}
        other = [
            f"_{n.name}_{word(given[n.name])}" for n in self._fields() if given[n.name] != n.default
        ]
        return "".join(other)

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if the parameters do not fit a volume of this shape."""

    @abstractmethod
    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
