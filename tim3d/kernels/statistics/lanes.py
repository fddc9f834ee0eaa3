"""Comparisons of 64 values at a time, as the bits of one number; for compiled code.

numba has no vector comparison. These two functions are written in the language of its compiler
instead, which makes them the vector instructions of any processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64


def _above(typing_context: Any, values: Any, first: Any, level: Any) -> Any:  # noqa: D417
    """Bits of values[first], ..., values[first + 63] that are above a level; lane 0 is the lowest bit.

    Parameters
    ----------
    values : float32 array in C order
        Must hold 64 values from there on: nothing checks it.
    first : uint64
        Place of the first value.
    level : uint32
        Bits of the level, a float32.
    """
    if not (isinstance(values, types.Array) and values.dtype == types.float32):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        proxy: Any = cgutils.create_struct_proxy
        array = proxy(signature.args[0])(context, builder, arguments[0])
        lanes = ir.VectorType(ir.FloatType(), LANES)
        place = builder.gep(array.data, [arguments[1]])
        found = builder.load(builder.bitcast(place, lanes.as_pointer()))
        found.align = 4
        unset, lane_0 = ir.Constant(lanes, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        value = builder.bitcast(arguments[2], ir.FloatType())
        single = builder.insert_element(unset, value, lane_0)
        nowhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        level_of_all = builder.shuffle_vector(single, unset, nowhere)
        is_above = builder.fcmp_ordered(">", found, level_of_all)
        return builder.bitcast(is_above, ir.IntType(LANES))

    return types.uint64(values, types.uint64, types.uint32), generate


def _lowest(typing_context: Any, bits: Any) -> Any:
    """Number of the lowest bit that is set, of bits that are not all 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


above: Any = intrinsic(_above)
lowest: Any = intrinsic(_lowest)
