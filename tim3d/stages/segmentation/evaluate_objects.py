"""Objects of a field of numbers against true ones, from one table of their overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tim3d.engine import Pass
from tim3d.errors import ArgumentError
from tim3d.grid import Block
from tim3d.kernels.morphology.overlaps import added, overlaps
from tim3d.kernels.statistics.object_agreement import Overlaps
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.agreement import about_baselines, prefixes
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.learnt_labels import about_learnt
from tim3d.stages.shared.object_scores import ALONG, object_scores, require_objects, variables_of
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import ResultMaking
from tim3d.storage import schema, store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field


def is_numbered(field: Field) -> bool:
    """Whether a field holds numbers of objects."""
    return field.phases is None and field.dtype == schema.ID_DTYPE


@dataclass(frozen=True)
class Objects:
    """Fields of numbers that are compared with a true one, the first of them judged."""

    sample: str
    true: Field
    fields: Sequence[Field]
    planes: tuple[int, int]

    def making(self, node: str, options: Options) -> ResultMaking:
        """The result, from one pass over all fields.

        Raises
        ------
        ArgumentError
            If a field does not hold numbers, or is of another shape.
        """
        self._check()
        fields = (self.true, *self.fields)
        inputs = {f.name: store.fingerprint_of(self.sample, f.name) for f in fields}
        names = "-".join(f.name for f in fields)
        counting = reduction_pass(
            self.sample, fields, partial(count_overlaps, self.planes), name=f"evaluate/{names}",
            fingerprint=schema.fingerprint(
                verb="evaluate", objects=True, inputs=inputs, slices=self.planes
            ),
            # A table of rows that is at most half full, at worst an object in every voxel.
            kernel_bytes=64 * len(self.fields), options=options,
        )  # fmt: skip
        asked: dict[str, Any] = {"field": self.fields[0].name, "truth": self.true.name}
        asked["slices"] = self.planes
        asked["baseline"] = ",".join(f.name for f in self.fields[1:])
        return ResultMaking(
            "evaluate",
            self.sample,
            node,
            inputs,
            asked,
            (counting,),
            partial(self.result, counting),
        )

    def _check(self) -> None:
        for one in self.fields:
            if one.shape != self.true.shape:
                raise ArgumentError(
                    other_stack(one.name, one.shape, self.true.name, self.true.shape)
                )
        for one in (self.true, *self.fields):
            if not one.may_number:
                raise ArgumentError(
                    f"{self.fields[0].name!r} holds numbers of objects, and {one.name!r} does not: label both, "
                    f"tim3d label {self.sample} --field {one.name} --keep --component {one.name}_objects"
                )

    def result(self, counting: Pass) -> xr.Dataset:
        """Metrics of every field, those of the baseline with a prefix."""
        tables: list[list[np.ndarray]] = [[] for _ in self.fields]
        for _, record in counting.records():
            for table, packed in zip(tables, record["overlaps"], strict=True):
                table.append(unpack(packed))
        found: dict[str, Any] = {}
        for prefix, table in zip(prefixes(len(tables)), tables, strict=True):
            overlap = Overlaps.of(added(table))
            require_objects(overlap)
            found |= variables_of(object_scores(overlap), prefix)
        about = {
            "field": self.fields[0].name, "truth_field": self.true.name, "slices": list(self.planes),
            **about_baselines(f.name for f in self.fields[1:]),
            **about_learnt(self.sample, self.fields[0].name, self.true, range(*self.planes)),
        }  # fmt: skip
        return xr.Dataset(found, {"threshold": ALONG}, about)


def count_overlaps(
    planes: tuple[int, int], fields: tuple[np.ndarray, ...], block: Block
) -> dict[str, Any]:
    """Tables of overlaps with the first field in some slices, packed for a record."""
    first, last = (max(0, z - block.core.start[0]) for z in planes)
    true, *others = (one[first:last] for one in fields)
    return {"overlaps": [pack(overlaps(true, other)) for other in others]}
