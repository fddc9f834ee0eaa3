"""Options of the training of a local network."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.models.common.conditioned_options import ConditionedOptions


@dataclass(frozen=True, slots=True)
class DiffusionOptions(ConditionedOptions):
    """Options of a training; the defaults suit one CPU thread. See `ConditionedOptions`.

    The crop is a multiple of the largest cell of the network. Of AdamW the betas are 0.9 and 0.99,
    and gradients are cut at the norm 1.
    """
