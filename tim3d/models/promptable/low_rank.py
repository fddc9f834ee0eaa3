"""Low-rank updates of the attention of an image encoder, which are merged into its weights.

With W the weights of queries, keys and values (3 d rows), queries and values have W + B A, with A
(rank x inputs) random and B (d x rank) zero at first: before the first step the network is what it
was.

References
----------
Hu et al. (2022), arXiv 2106.09685 (LoRA); Zhang & Liu (2023), arXiv 2304.13785 (its use on queries
and values of SAM).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tim3d.errors import ArgumentError
from tim3d.models.promptable.key_sets import Network
from tim3d.models.promptable.networks import blank, image_embeddings

# Ending of the name of the layer of queries, keys and values, in all families with attention.
QKV = ".attn.qkv"


class LowRank(nn.Module):
    """Update of the queries and values of one layer."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(2, rank, columns) / math.sqrt(columns))
        self.up = nn.Parameter(torch.zeros(2, rows // 3, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The weights (3 d, inputs) with their update."""
        queries, values = self.up @ self.down
        return weight + torch.cat([queries, torch.zeros_like(queries), values])


def attach(encoder: nn.Module, rank: int, family: str) -> nn.ModuleDict:
    """Give every attention of an encoder an update, and return these by the names of the layers.

    Raises
    ------
    ArgumentError
        If it has no attention, or the rank is too large.
    """
    layers = {
        name: one
        for name, one in encoder.named_modules()
        if name.endswith(QKV) and isinstance(one, nn.Linear)
    }
    if not layers:
        raise ArgumentError(
            f"the encoder of a network of the family {family} has no attention for low ranks: --adapt decoder"
        )
    width = min(min(one.weight.shape) for one in layers.values())
    if not 1 <= rank <= width // 3:
        raise ArgumentError(f"rank {rank}: 1 to {width // 3} in this encoder: --rank 4")
    updates = {}
    for name, one in layers.items():
        rows, columns = one.weight.shape
        update = LowRank(rows, columns, rank).to(one.weight.device)
        parametrize.register_parametrization(one, "weight", update)
        updates[name.replace(".", "/")] = update  # a name of a module has no dot
    return nn.ModuleDict(updates)


def activation_bytes(network: Network, edge: int, rank: int) -> int:
    """Bytes of the activations that a forward pass of the encoder keeps for the backward pass.

    They are counted on the meta device, which allocates nothing; weights are not among them.
    """
    built = blank(network).requires_grad_(False)
    with torch.device("meta"):
        attach(built.vision_encoder, rank, network.family)  # type: ignore[arg-type]
    weights = {one.untyped_storage()._cdata for one in built.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        image_embeddings(built, torch.empty((1, 3, edge, edge), device="meta"))
    return sum(one.nbytes() for key, one in kept.items() if key not in weights)


def merged(tensors: Mapping[str, Tensor], updates: nn.ModuleDict, prefix: str) -> dict[str, Tensor]:
    """Weights by name, with the updates in them; names in the encoder follow a prefix."""
    made = dict(tensors)
    with torch.no_grad():
        for key, update in updates.items():
            name = f"{prefix}{key.replace('/', '.')}.weight"
            # The update itself stays where the training goes on.
            values = {part: one.cpu() for part, one in update.named_parameters()}
            made[name] = torch.func.functional_call(update, values, (made[name],))
    return made
