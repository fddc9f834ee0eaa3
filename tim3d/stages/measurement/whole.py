"""User-defined coupled descriptors: computed from whole fields, kept as a result node."""

from __future__ import annotations

from tim3d.descriptors.base import Material
from tim3d.descriptors.coupled import Coupled
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.partials import stored_inputs
from tim3d.stages.shared.results import ResultMaking
from tim3d.storage import store
from tim3d.storage.schema import Field


def whole_making(sample: str, measured: Field, material: Material, one: Coupled) -> ResultMaking:
    """Result of a descriptor with a `Whole`, in the node ``FIELD_NAME``.

    Raises what `stored_inputs` raises.
    """
    assert one.whole is not None
    whole = one.whole
    fields = [
        field.name
        for field in stored_inputs(sample, measured, whole.reads, repr(one.name)).values()
    ]

    def gather() -> xr.Dataset:
        return whole.results([store.open_field(sample, name) for name in fields], material)

    inputs = {
        name: store.fingerprint_of(sample, name) for name in dict.fromkeys([measured.name, *fields])
    }
    node = f"{measured.name}_{one.node}"
    return ResultMaking("measure", sample, node, inputs, {"descriptor": one.name}, (), gather)
