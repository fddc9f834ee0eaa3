"""Counter-based random numbers: a function of the position on an endless lattice.

Philox4x32-10 maps a counter (x, y, z, j) and a key (the seed) to four words of 32 bits. Numbers are
not drawn in sequence, so a box has the same bits when it is computed separately or as a part of a
larger one, in any order and on any worker.

References
----------
Salmon, Moraes, Dror, Shaw, SC'11 (Philox). DOI 10.1145/2063384.2063405
Wichura, Appl. Stat. 37 (1988) 477 (normal quantiles, AS 241). DOI 10.2307/2347330
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple

Words: TypeAlias = npt.NDArray[np.uint32]
Reals: TypeAlias = npt.NDArray[np.float32]

# The fourth word of the counter holds the stream and the number within it, 16 bits each.
STREAM_BITS = 16
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
LN2 = 0.6931471805599453
ROOT_HALF = 0.7071067811865476


@dataclass(frozen=True, slots=True)
class Noise:
    """White noise on an endless integer lattice (z, y, x).

    Parameters
    ----------
    seed : int
        Seed from 0 to 2^64 - 1; different seeds give independent noise.
    stream : int
        Stream from 0 to 65535; different streams of a seed are independent as well.
    period : (z, y, x), optional
        Coordinates are taken modulo these lengths; 0 makes an axis endless.

    Raises
    ------
    ArgumentError
        If a number is out of its range.

    Examples
    --------
    >>> noise = Noise(seed=7)
    >>> large = noise.normals(Box((-2, 0, 0), (3, 4, 9)))
    >>> bool((large[1:3, 2:, 5:] == noise.normals(Box((-1, 2, 5), (1, 4, 9)))).all())
    True
    """

    seed: int
    stream: int = 0
    period: Triple = (0, 0, 0)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise ArgumentError(f"seed {self.seed} is not between 0 and 2^64 - 1")
        if not 0 <= self.stream < 2**STREAM_BITS or min(self.period) < 0:
            raise ArgumentError(
                f"noise needs 0 <= stream < 65536 and periods >= 0, got stream {self.stream}, period {self.period}"
            )

    @property
    def key(self) -> tuple[np.uint64, np.uint64]:
        """Low and high half of the seed."""
        return np.uint64(self.seed & 0xFFFFFFFF), np.uint64(self.seed >> 32)

    def bits(self, box: Box) -> Words:
        """Random bits, uint32 of shape `box.shape`; four neighbours along x share a counter."""
        out = np.empty(box.shape, np.uint32)
        _field(out, box.start, self.period, self.key, self.stream << STREAM_BITS)
        return out

    def uniforms(self, box: Box) -> Reals:
        """Uniform numbers in [0, 1) of 24 bits; float32 of shape `box.shape`."""
        return (self.bits(box) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)

    def normals(self, box: Box) -> Reals:
        """Standard normal numbers between -6.4 and 6.4; float32 of shape `box.shape`."""
        out = np.empty(box.shape, np.float32)
        _normals(self.bits(box), out)
        return out

    def latent(self, box: Box, channels: int) -> Reals:
        """Standard normal latent noise of a network; float32 (channels, z, y, x).

        Channel c is word c mod 4 of counter (x, y, z, c // 4), so the first channels do not depend
        on their number.
        """
        words = np.stack([self.words(box, j) for j in range(-(-channels // 4))])
        out = np.empty(words.shape, np.float32)
        _normals(words.reshape(1, 1, -1), out.reshape(1, 1, -1))
        return np.ascontiguousarray(np.moveaxis(out, -1, 1).reshape(-1, *box.shape)[:channels])

    def words(self, box: Box, number: int) -> Words:
        """Four random words per node for one `number` (0 to 65535); uint32 (z, y, x, 4)."""
        if not 0 <= number < 2**STREAM_BITS:
            raise ArgumentError(f"a node has words for the numbers 0 to 65535, not {number}")
        out = np.empty((*box.shape, 4), np.uint32)
        _words(out, box.start, self.period, self.key, (self.stream << STREAM_BITS) + number)
        return out


def philox4x32(counters: Words, key: tuple[int, int]) -> Words:
    """Apply ten rounds of Philox4x32 to each row of `counters` (n, 4); uint32 (n, 4).

    Parameters
    ----------
    counters : (n, 4) uint32
        Counters, one per row.
    key : two ints
        Low and high half of the key, 32 bits each.

    Examples
    --------
    >>> [f"{word:08x}" for word in philox4x32(np.zeros((1, 4), np.uint32), (0, 0))[0]]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    out = np.empty_like(counters)
    _rows(np.ascontiguousarray(counters), np.uint64(key[0]), np.uint64(key[1]), out)
    return out


def quantile(bits: Words) -> npt.NDArray[np.float64]:
    """Standard normal quantile of (bits + 1/2) / 2^32; float64 of the same shape.

    Algorithm AS 241, relative error 1e-15, from sums, products, quotients and square roots only:
    these have the same bits on every machine, unlike the logarithms and cosines of a library.

    Examples
    --------
    >>> quantile(np.array([0x80000000, 0xFFFFFFFF], np.uint32)).round(6).tolist()
    [0.0, 6.337958]
    """
    out = np.empty(bits.shape)
    _quantiles(np.ascontiguousarray(bits).ravel(), out.reshape(-1))
    return out


@nb.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Apply ten rounds; all words are uint64 below 2^32."""
    for _ in range(10):
        a, b = M0 * c0, M1 * c2
        c0, c1, c2, c3 = (b >> HALF) ^ c1 ^ k0, b & LOW, (a >> HALF) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    return c0, c1, c2, c3


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _rows(counters, k0, k1, out):  # type: ignore[no-untyped-def]
    for n in range(len(counters)):
        c = counters[n]
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = _philox(
            np.uint64(c[0]), np.uint64(c[1]), np.uint64(c[2]), np.uint64(c[3]), k0, k1
        )


@nb.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _wrapped(place, period):  # type: ignore[no-untyped-def]
    """Convert a coordinate to 32 bits, after reducing it modulo its period."""
    return np.uint64(place % period if period > 0 else place) & LOW


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _words(out, start, period, key, number):  # type: ignore[no-untyped-def]
    j = np.uint64(number)
    for z in range(out.shape[0]):
        cz = _wrapped(start[0] + z, period[0])
        for y in range(out.shape[1]):
            cy = _wrapped(start[1] + y, period[1])
            for x in range(out.shape[2]):
                cx = _wrapped(start[2] + x, period[2])
                w = out[z, y, x]
                w[0], w[1], w[2], w[3] = _philox(cx, cy, cz, j, key[0], key[1])


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _field(out, start, period, key, number):  # type: ignore[no-untyped-def]
    j, nx = np.uint64(number), out.shape[2]
    for z in range(out.shape[0]):
        cz = _wrapped(start[0] + z, period[0])
        for y in range(out.shape[1]):
            cy = _wrapped(start[1] + y, period[1])
            row, x = out[z, y], 0
            while x < nx:
                place = start[2] + x
                if period[2] > 0:
                    place %= period[2]
                four = _philox(np.uint64(place >> 2) & LOW, cy, cz, j, key[0], key[1])
                last = 4 if period[2] == 0 else min(4, period[2] - (place & ~3))
                for word in range(place & 3, last):
                    if x < nx:
                        row[x] = four[word]
                    x += 1


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _normals(bits, out):  # type: ignore[no-untyped-def]
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                out[z, y, x] = _quantile(bits[z, y, x])


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _quantiles(bits, out):  # type: ignore[no-untyped-def]
    for n in range(len(bits)):
        out[n] = _quantile(bits[n])


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _quantile(word):  # type: ignore[no-untyped-def]
    """Quantile by AS 241 (PPND16): one rational function in the middle, two in the tails."""
    q = (np.float64(word) + 0.5) * 2.0**-32 - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = ((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
            + 45921.953931549871457) * r + 13731.693765509461125) * r + 1971.5909503065514427) * r
            + 133.14166789178437745) * r + 3.387132872796366608  # fmt: skip
        low = ((((((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r
            + 21213.794301586595867) * r + 5394.1960214247511077) * r + 687.1870074920579083) * r
            + 42.313330701600911252) * r + 1.0  # fmt: skip
        return q * top / low
    value = _tail(math.sqrt(-_log(0.5 - abs(q))))
    return -value if q < 0 else value


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _tail(r):  # type: ignore[no-untyped-def]
    if r <= 5.0:
        r -= 1.6
        top = ((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r
            + 1.27045825245236838258) * r + 3.64784832476320460504) * r + 5.7694972214606914055) * r
            + 4.6303378461565452959) * r + 1.42343711074968357734  # fmt: skip
        low = ((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
            + 0.14810397642748007459) * r + 0.68976733498510000455) * r + 1.6763848301838038494) * r
            + 2.05319162663775882187) * r + 1.0  # fmt: skip
        return top / low
    # sqrt(-log p) exceeds 5 only below p = 1.4e-11; 32 bits do not go below 1.2e-10.
    return np.nan


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _log(p):  # type: ignore[no-untyped-def]
    """Natural logarithm from 2 atanh((m - 1) / (m + 1)), without a library function."""
    m, power = math.frexp(p)
    if m < ROOT_HALF:
        m, power = 2 * m, power - 1
    s = (m - 1) / (m + 1)
    square, total = s * s, 0.0
    for n in range(21, 0, -2):
        total = total * square + 1.0 / n
    return 2 * s * total + power * LN2
