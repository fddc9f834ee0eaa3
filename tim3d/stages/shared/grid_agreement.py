"""Fields of one sample lie on one grid: what is counted in one is looked up in the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tim3d.errors import InputError, Tim3dError
from tim3d.forecast import expected
from tim3d.storage import store
from tim3d.storage.schema import Field


def refuse_other_grid(sample: str, wanted: Field, verb: str) -> None:
    """Refuse to write a field whose voxels are not those of any other field of the sample.

    Fields that were made from an earlier version of this one do not count: they are out of date with it. Origins need
    no comparison, for all fields begin at the outer face of the volume.

    Raises
    ------
    InputError
        With both shapes and voxel sizes, and what to do.
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
    """Refuse to read two fields of a sample together that do not lie on one grid.

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
            if other != name and record.get("kind") == "field" and not _is_from(sample, other, name):
                yield expected("field", f"{sample}/{other}") or store.read_field(sample, other)
        except Tim3dError:  # what is damaged says nothing of a grid, and is refused by its readers
            continue


def _is_from(sample: str, node: str, name: str) -> bool:
    """Whether a node was made from another, at any distance."""
    inputs = set(store.node_attributes(sample, node).get("inputs", {})) - {node}
    return name in inputs or any(_is_from(sample, one, name) for one in inputs)


def _agree(one: Field, other: Field) -> bool:
    return one.shape == other.shape and np.allclose(one.spacing_nm, other.spacing_nm, rtol=1e-6, atol=0)


def _grid(field: Field) -> str:
    sizes = " x ".join(f"{step:g}" for step in field.spacing_nm)
    return f"{' x '.join(map(str, field.shape))} voxels of {sizes} nm (z, y, x)"
