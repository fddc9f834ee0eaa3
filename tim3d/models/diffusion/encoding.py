"""Labels and grey values as the state of a diffusion, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from tim3d.models.common.conditioned_network import state_channels


def encoded(values: Tensor, phases: int) -> Tensor:
    """State (n, channels, *spatial), float32 from -1 to 1.

    Parameters
    ----------
    values : (n, *spatial) uint8
        Labels 0, 1, ... or, for 0 phases, grey values.
    phases : int
        Number of phases.

    Examples
    --------
    >>> encoded(torch.tensor([[0, 1]]), 2).tolist(), encoded(torch.tensor([[0, 2]]), 3).tolist()
    ([[[-1.0, 1.0]]], [[[1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]]])
    """
    if not phases:
        return values[:, None].float() / 127.5 - 1
    if phases == 2:
        return 2 * values[:, None].float() - 1
    return torch.stack([2 * (values == phase).float() - 1 for phase in range(phases)], 1)


def decoded(state: Tensor, phases: int) -> Tensor:
    """Labels, or for 0 phases grey values, of a state (n, channels, *spatial): uint8 (n, *spatial).

    Of two phases the sign, of more the first channel with the highest value.

    >>> labels = torch.tensor([[0, 1, 2]], dtype=torch.uint8)
    >>> bool((decoded(encoded(labels, 3), 3) == labels).all())
    True
    """
    if not phases:
        return ((state[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    if state_channels(phases) == 1:
        return (state[:, 0] > 0).to(torch.uint8)
    return state.argmax(1).to(torch.uint8)
