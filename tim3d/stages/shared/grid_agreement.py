"""Fields of one sample share one grid, so that they can be compared voxel by voxel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tim3d.errors import InputError, Tim3dError
from tim3d.forecast import expected
from tim3d.storage import store
from tim3d.storage.schema import Field


def refuse_other_grid(sample: str, wanted: Field, verb: str) -> None:
    """Refuse to write a field on another grid than the fields of the sample.

    Fields made from an earlier version of this one do not count, as they are outdated. Origins are
    not compared, as all fields begin at the outer face of the volume.

    Raises
    ------
    InputError
        With both shapes and voxel sizes, and what to type.
    """
    others = list(_others(sample, wanted.name)) if store.is_sample(sample) else []
    if not others or any(_agree(wanted, other) for other in others):
        return
    meant = "; if another resolution is meant, add --other-grid" if verb == "ingest" else ""
    raise InputError(
        f"field {wanted.name!r} would have {_grid(wanted)}, and {others[0].name!r} of {sample} has {_grid(others[0])}: "
        f"fields of one sample lie on one grid. Give the same slices and voxel size, or another sample{meant}"
    )


def refuse_unlike(sample: str, one: Field, other: Field) -> None:
    """Refuse to read two fields of a sample together if their grids differ.

    Raises
    ------
    InputError
        With both shapes and voxel sizes.
    """
    if not _agree(one, other):
        raise InputError(
            f"{one.name!r} of {sample} has {_grid(one)}, and {other.name!r} has {_grid(other)}: fields that are read "
            "together lie on one grid. Name fields of one resolution"
        )


def _others(sample: str, name: str) -> Iterator[Field]:
    for other in store.nodes(sample):
        try:
            record = store.node_attributes(sample, other)
            if (
                other != name
                and record.get("kind") == "field"
                and not _is_from(sample, other, name)
            ):
                yield expected("field", f"{sample}/{other}") or store.read_field(sample, other)
        except Tim3dError:  # a damaged field has no grid; its readers refuse it
            continue


def _is_from(sample: str, node: str, name: str) -> bool:
    """Whether a node was made from another, directly or indirectly."""
    inputs = set(store.node_attributes(sample, node).get("inputs", {})) - {node}
    return name in inputs or any(_is_from(sample, one, name) for one in inputs)


def _agree(one: Field, other: Field) -> bool:
    return one.shape == other.shape and np.allclose(
        one.spacing_nm, other.spacing_nm, rtol=1e-6, atol=0
    )


def _grid(field: Field) -> str:
    sizes = " x ".join(f"{step:g}" for step in field.spacing_nm)
    return f"{' x '.join(map(str, field.shape))} voxels of {sizes} nm (z, y, x)"
