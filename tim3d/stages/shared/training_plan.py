"""Cost of a training: memory by a formula, time by steps that are made on noise."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.errors import MemoryPlanError
from tim3d.grid import Triple
from tim3d.models.segmentation.crops import crop_in
from tim3d.models.segmentation.memory import is_known
from tim3d.models.segmentation.network_check import check_network
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec


@dataclass(frozen=True, slots=True)
class Cost:
    """Memory in bytes, and seconds: of a step, of a judgement, and of all epochs."""

    bytes: int
    step: float
    judgement: float
    whole: float

    def text(self) -> str:
        """For a plan."""
        return (
            f"at most {size_text(self.bytes)}, and about {_time(self.whole)} for all epochs: a step took "
            f"{self.step:.2g} s here, a validation takes {self.judgement:.2g} s"
        )


def check_cost(spec: UNetSpec, options: TrainingOptions, slices_bytes: int) -> int:
    """Memory of a training in bytes, on its own device.

    Raises
    ------
    ArgumentError
        If the network cannot segment slices.
    MemoryPlanError
        If slices and a step do not fit into the memory that is free.
    """
    from tim3d.models.common.device import choose_device
    from tim3d.models.segmentation.training_cost import training_bytes

    edge = crop_in((options.crop, options.crop), options.crop, spec.total_stride)
    if not is_known(spec):
        check_network(spec, (edge, edge))
    step, free = training_bytes(spec, options.batch, edge), available_memory()
    need = slices_bytes + step
    if choose_device(options.device) == "cpu" and need > free:
        raise MemoryPlanError(
            f"train needs {size_text(need)}: {size_text(slices_bytes)} for the slices, {size_text(step)} for a step of "
            f"{options.batch} crops of {edge} pixels; {size_text(free)} are free. Use a smaller --batch or --crop"
        )
    return need


def cost(
    spec: UNetSpec, options: TrainingOptions, shape: Triple, slices: int, slices_bytes: int
) -> Cost:
    """Memory and time of a training; the time is measured.

    Raises
    ------
    ArgumentError
        If the network cannot segment slices.
    MemoryPlanError
        If slices and a step do not fit into the memory that is free.
    """
    from tim3d.models.segmentation.training_cost import measured_times

    need = check_cost(spec, options, slices_bytes)
    times = measured_times(spec, options, crop_in(shape[1:], options.crop, spec.total_stride))
    held_out = max(1, round(options.validation_fraction * slices))
    pixels = min(held_out, options.validation_slices) * shape[1] * shape[2]
    judgement = times.megapixel * pixels / 1e6
    whole = options.epochs * (options.steps * times.step + judgement)
    return Cost(need, times.step, judgement, whole)


def _time(seconds: float) -> str:
    """Seconds in the unit in which they are read.

    >>> _time(42.3), _time(700), _time(20000)
    ('42 s', '12 min', '5.6 h')
    """
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
