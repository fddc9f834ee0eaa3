"""Voxels of types that tim3d does not keep: converted only where no value changes, or as asked."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.base import DTYPES, Source, Voxels

Conversion = Literal["exact", "shift", "float32", "objects"]
CONVERSIONS = ("exact", "shift", "float32", "objects")

_FLOAT32, _NUMBERS = np.dtype(np.float32), np.dtype(np.uint32)
# Bytes of the slabs in which a volume is looked through.
_SLAB_BYTES = 2**22
_OWN = ("shape", "dtype", "scale", "missing", "extra_voxel_bytes", "is_numbered")


@dataclass(frozen=True, kw_only=True, repr=False)
class Converted(Source):
    """Voxels of another source in a type that tim3d keeps; create it with `fitted`.

    `rule` is ``cast`` (the same values, or an error), ``shift`` (plus half the range of the type),
    ``float32`` (the nearest float32) or ``scale`` (slope times value plus intercept, computed in
    float64, as the nearest float32).
    """

    source: Source
    rule: str

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return self.source.label

    def slice_name(self, z: int) -> str:
        """Name of slice `z` in messages."""
        return self.source.slice_name(z)

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (type(self.source).__name__, self.source.parts(), self.rule, self.source.scale)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        found = self.source.read(z0, z1)
        if self.rule == "shift":
            return _shifted(found)
        if self.rule == "scale":
            slope, intercept = self.source.scale or (1.0, 0.0)
            return found.astype(np.float64) * slope + intercept
        if self.rule == "cast":
            self._refuse_changed(found, z0)
        return found.astype(self.dtype)

    def _refuse_changed(self, found: Voxels, z0: int) -> None:
        for z, plane in enumerate(found, z0):
            if not _fits(plane, self.dtype):
                raise _misfit(self.source, z, plane, objects=self.is_numbered)


def fitted(source: Source, conversion: Conversion = "exact") -> Source:
    """Return the source in uint8, uint16 or float32, or numbers of objects in uint32.

    With ``exact``, whole numbers become uint8 if all are 0 to 255, otherwise uint16 if all are 0 to
    65535, and float64 becomes float32 if every value is one. Headers cannot tell, so the whole volume is read once.

    Parameters
    ----------
    source : Source
        The source, of any type of real numbers.
    conversion : {"exact", "shift", "float32", "objects"}
        ``exact`` changes no value. ``shift`` adds 128 to int8 and 32768 to int16, which loses
        nothing. ``float32`` takes the nearest float32. ``objects`` reads whole numbers as numbers
        of objects, as files of nothing else are read in any case.

    Raises
    ------
    ArgumentError
        If there is nothing to convert in this way.
    InputError
        If a value would change.
    """
    if conversion not in CONVERSIONS:
        raise ArgumentError(
            f"--convert {conversion!r} is not known; write {', '.join(CONVERSIONS)}"
        )
    if conversion == "objects" or source.is_numbered:
        return _of_objects(source)
    if source.scale not in (None, (1.0, 0.0)):
        _refuse_needless(conversion == "exact", source, conversion)
        return _converted(source, _FLOAT32, "scale")
    if source.dtype.name in DTYPES:
        _refuse_needless(conversion == "exact", source, conversion)
        return source
    if conversion == "float32" or source.dtype == np.float16:
        return _converted(source, _FLOAT32, "float32")
    if conversion == "shift":
        _refuse_needless(source.dtype.name in ("int8", "int16"), source, conversion)
        return _converted(source, np.dtype(f"u{source.dtype.name}"), "shift")
    return _converted(source, _proved(source), "cast")


def _of_objects(source: Source) -> Source:
    if source.dtype.kind not in "iu" or source.scale not in (None, (1.0, 0.0)):
        raise InputError(
            f"{source.label} holds {source.dtype} values; numbers of objects are whole: save them as uint8, uint16 or "
            "uint32"
        )
    if source.dtype == _NUMBERS:
        return replace(source, is_numbered=True)
    return replace(_converted(source, _NUMBERS, "cast"), is_numbered=True)


def _refuse_needless(needed: bool, source: Source, conversion: str) -> None:
    if not needed:
        raise ArgumentError(
            f"--convert {conversion} does not apply to {source.label}, which holds {source.dtype}: leave it out"
        )


def _converted(source: Source, dtype: np.dtype[Any], rule: str) -> Converted:
    kept = {f.name: getattr(source, f.name) for f in fields(Source) if f.name not in _OWN}
    said = (
        {"shift": f"{source.dtype} values plus {_offset(source.dtype)}"} if rule == "shift" else {}
    )
    remarks = (*source.remarks, *said.values())
    return Converted(
        **{**kept, "remarks": remarks},
        shape=source.shape,
        dtype=dtype,
        extra_voxel_bytes=2 * max(source.dtype.itemsize, 8 if rule == "scale" else 0),
        source=replace(source, remarks=()),
        rule=rule,
    )


def _offset(dtype: np.dtype[Any]) -> int:
    return int(-np.iinfo(dtype).min)


def _shifted(found: Voxels) -> Voxels:
    # Two's complement: the highest bit is the offset.
    unsigned = found.view(f"u{found.dtype.name}")
    return np.asarray(unsigned ^ unsigned.dtype.type(_offset(found.dtype)))


def _proved(source: Source) -> np.dtype[Any]:
    """Type that every value fits without change, from one look at the whole volume."""
    kinds = ["float32"] if source.dtype.kind == "f" else ["uint8", "uint16"]
    step = max(1, _SLAB_BYTES // source.slice_bytes)
    for z0 in range(0, source.shape[0], step):
        slab = source.read(z0, min(z0 + step, source.shape[0]))
        kinds = [kind for kind in kinds if _fits(slab, np.dtype(kind))]
        if not kinds:
            z = next(i for i, plane in enumerate(slab) if not _fits_widest(plane))
            raise _misfit(source, z0 + z, slab[z])
    return np.dtype(kinds[0])


def _fits(values: Voxels, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.array_equal(values.astype(dtype), values))
    return bool(values.min() >= 0 and values.max() <= np.iinfo(dtype).max)


def _fits_widest(values: Voxels) -> bool:
    return _fits(values, _FLOAT32 if values.dtype.kind == "f" else np.dtype(np.uint16))


def _misfit(source: Source, z: int, plane: Voxels, *, objects: bool = False) -> InputError:
    shift = (
        f" --convert shift, which adds {_offset(source.dtype)} and loses nothing, or"
        if source.dtype.name in ("int8", "int16")
        else ""
    )
    seen = f"{source.slice_name(z)} holds {source.dtype} values from {plane.min():g} to {plane.max():g}"
    if objects:
        return InputError(f"{seen}; numbers of objects are 0 to {np.iinfo(_NUMBERS).max}")
    return InputError(
        f"{seen}; tim3d keeps {', '.join(DTYPES)}, and they do not fit without change. Type{shift} --convert float32, "
        "which takes the nearest float32, or --convert objects if they are numbers of objects"
    )
