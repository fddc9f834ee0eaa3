"""Training of a three-dimensional U-Net on a labelled stack, as a value; each step is an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tim3d.grid import triple
from tim3d.kernels.windows.lattice import Array
from tim3d.models.common.distributed import Place
from tim3d.models.segmentation.crops import check_classes
from tim3d.models.segmentation.crops_3d import (
    Stack,
    Stacks,
    box_edges,
    random_boxes,
    split_stack,
    thinned,
)
from tim3d.models.segmentation.training import Examples, UNetLearner, UNetTraining
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet_3d import UNet3DSpec


@dataclass(frozen=True)
class UNet3DTraining(UNetTraining):
    """A three-dimensional U-Net, its labelled stack and the options of its training."""

    slices: Stack | Stacks  # type: ignore[assignment]
    spec: UNet3DSpec  # type: ignore[assignment]

    @cached_property
    def parts(self) -> tuple[list[Stack], list[Stack]]:  # type: ignore[override]
        """Stacks to train on, and those held out for validation: the ones named, or a share."""
        slices = self.slices
        if isinstance(slices, Stack):
            slices = split_stack(slices, self.options.validation_fraction)
        return list(slices.learnt), list(slices.judging)

    def _counts(self) -> tuple[int, int]:
        seen, held_out = (sum(map(len, one)) for one in self.parts)
        return seen, held_out

    def start(self, place: Place) -> UNet3DLearner:
        """Create the network and its optimiser on a device."""
        return UNet3DLearner(self, place)


class UNet3DLearner(UNetLearner):
    """A three-dimensional network, its optimiser and the scale of its losses."""

    def _examples_of(self, training: UNetTraining) -> Examples:
        assert isinstance(training, UNet3DTraining)
        return BoxExamples(training)


class BoxExamples:
    """Random boxes of a stack, and held-out boxes."""

    def __init__(self, training: UNet3DTraining) -> None:
        self._seen, held_out = training.parts
        check_classes([one.labels for one in self._seen], training.spec.classes)
        options, strides = training.options, training.spec.strides
        square = options.augmentation.rotations
        least = triple(np.min([one.labels.shape for one in self._seen], axis=0).tolist())
        self._edges = box_edges(least, options.crop, strides, square=square)
        self._validation = thinned(held_out, self._edges, options.validation_slices)

    def batches(
        self, options: TrainingOptions, rng: np.random.Generator
    ) -> Iterator[tuple[Array, Array]]:
        """Yield random boxes."""
        return random_boxes(
            self._seen, self._edges, options.batch, options.steps, options.augmentation, rng
        )

    def held_out(self) -> Iterator[tuple[Array, Array]]:
        """Yield boxes side by side."""
        for image, labels in self._validation:
            yield image[None], labels
