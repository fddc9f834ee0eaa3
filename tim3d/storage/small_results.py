"""The files of a small result, made at once: they have the bytes that xarray and zarr would write.

zarr makes every array in four requests to its own thread, some 8 ms; a result has twenty of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd

from tim3d.lazy import xarray as xr
from tim3d.storage.folder import DOCUMENT, group_document

# zarr divides no array up to this size into chunks.
SMALL_BYTES = 2**16
_FILL: dict[str, Any] = {"f": "NaN", "i": 0, "u": 0, "b": False}
_TYPES = {"float64", "float32", "int64", "int32", "uint8", "uint16", "uint32", "bool"}
# Attributes that xarray reads as a description of how the values are stored.
_CODED = {"_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "coordinates"}
# NaN as xarray notes it: the bytes of a float64 in base 64.
_NAN = "AAAAAAAA+H8="


def files_of(dataset: xr.Dataset, codec: Mapping[str, Any]) -> dict[str, bytes] | None:
    """Files of a result without attributes of its own, by path below its node.

    None if it holds anything else than small arrays of numbers, flags and words: xarray then writes
    it. The first file is the document of the node.
    """
    variables, attributes = xr.conventions.encode_dataset_coordinates(dataset)
    if not all(_is_plain(str(name), variables[name]) for name in variables):
        return None
    files = {DOCUMENT: bytes(group_document(attributes).to_bytes())}
    for name, variable in variables.items():
        files.update(_files(str(name), variable, codec))
    return files


def _is_plain(name: str, variable: xr.Variable) -> bool:
    if variable.chunks is not None or not variable.size or "/" in name:
        return False
    if _CODED & variable.attrs.keys():
        return False
    if _holds_words(variable):
        return bool(variable.size * 16 <= SMALL_BYTES)
    return variable.dtype.name in _TYPES and variable.nbytes <= SMALL_BYTES


def _holds_words(variable: xr.Variable) -> bool:
    if variable.dtype.kind == "T":
        return True
    is_object = variable.dtype.kind == "O"
    return is_object and all(isinstance(one, str) for one in variable.values.flat)


def _files(
    name: str, variable: xr.Variable, codec: Mapping[str, Any]
) -> Iterator[tuple[str, bytes]]:
    words = _holds_words(variable)
    values, kind = variable.values, variable.dtype.kind
    attributes = {key: _plain(value) for key, value in variable.attrs.items()}
    if kind == "f":
        attributes["_FillValue"] = _NAN
    document = {
        "shape": list(variable.shape),
        "data_type": "string" if words else variable.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(variable.shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "" if words else _FILL[kind],
        "codecs": [_serializer(words, values), {"name": "zstd", "configuration": dict(codec)}],
        "attributes": attributes,
        **({"dimension_names": list(variable.dims)} if variable.dims else {}),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    yield f"{name}/{DOCUMENT}", _as_document(document)
    key = "/".join([name, "c", *("0" for _ in variable.dims)])
    raw = _words(values) if words else _little(values).tobytes()
    yield key, bytes(Zstd(**codec).encode(raw))


def _as_document(content: Mapping[str, Any]) -> bytes:
    """A ``zarr.json`` as zarr lays it out."""
    return json.dumps(content, indent=zarr.config.get("json_indent"), allow_nan=True).encode()


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _serializer(words: bool, values: np.ndarray) -> dict[str, Any]:
    if words:
        return {"name": "vlen-utf8", "configuration": {}}
    endian = {"configuration": {"endian": "little"}} if values.dtype.itemsize > 1 else {}
    return {"name": "bytes", **endian}


def _little(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, values.dtype.newbyteorder("<"))


def _words(values: np.ndarray) -> bytes:
    """Words with their lengths, after their number."""
    coded = [str(one).encode() for one in values.flat]
    return b"".join([_count(len(coded)), *(_count(len(one)) + one for one in coded)])


def _count(number: int) -> bytes:
    return number.to_bytes(4, "little")
