"""Noise as a function of the place: the published vectors, any window, any period, the right distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.generation.philox import Noise, philox4x32, quantile

# kat_vectors of Random123: counter, key, output.
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def hexes(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_the_published_vectors(counter: str, key: str, output: str) -> None:
    k0, k1 = hexes(key)
    assert philox4x32(np.array([hexes(counter)], np.uint32), (k0, k1)).tolist() == [hexes(output)]


def test_a_node_is_its_counter_and_the_seed_is_the_key() -> None:
    seed, stream, number, place = 0x299F31D0A4093822, 3, 5, (-7, 2, 11)
    counter = np.array(
        [[place[2], place[1], place[0] % 2**32, (stream << 16) + number]], np.int64
    ).astype(np.uint32)
    box = Box(place, (-6, 3, 12))
    expected = philox4x32(counter, (0xA4093822, 0x299F31D0))
    assert Noise(seed, stream).words(box, number).reshape(1, 4).tolist() == expected.tolist()
    four = np.array([[11 >> 2, 2, -7 % 2**32, stream << 16]], np.int64).astype(np.uint32)
    assert (
        Noise(seed, stream).bits(box).item()
        == philox4x32(four, (0xA4093822, 0x299F31D0))[0, 11 & 3]
    )


@given(
    start=st.tuples(*[st.integers(-40, 40)] * 3),
    edges=st.tuples(*[st.integers(1, 9)] * 3),
    period=st.sampled_from([(0, 0, 0), (5, 7, 3), (16, 0, 6), (1, 1, 1)]),
)
def test_a_window_is_a_window_of_the_whole(
    start: tuple[int, int, int], edges: tuple[int, int, int], period: tuple[int, int, int]
) -> None:
    noise, plain = Noise(3, 1, period), Noise(3, 1)
    box = Box(start, tuple(a + n for a, n in zip(start, edges, strict=True)))  # type: ignore[arg-type]
    whole = plain.normals(Box((-40, -40, -40), (49, 49, 49)))
    places = [
        np.arange(a, b) % p if p else np.arange(a, b)
        for a, b, p in zip(box.start, box.stop, period, strict=True)
    ]
    assert np.array_equal(noise.normals(box), whole[np.ix_(*[p + 40 for p in places])])
    latent = noise.latent(box, 6)
    assert np.array_equal(latent[:5], noise.latent(box, 5))
    one = Box(tuple(int(p[-1]) for p in places), tuple(int(p[-1]) + 1 for p in places))  # type: ignore[arg-type]
    assert np.array_equal(latent[:, -1, -1, -1], plain.latent(one, 6).ravel())


def test_quantiles_are_those_of_the_normal_law() -> None:
    bits = np.concatenate(
        [np.arange(2000), 2**32 - 1 - np.arange(2000), np.arange(0, 2**32, 999983)]
    ).astype(np.uint32)
    expected = special.ndtri((bits.astype(float) + 0.5) / 2**32)
    np.testing.assert_allclose(quantile(bits), expected, rtol=3e-14, atol=1e-15)
    assert np.array_equal(quantile(~bits), -quantile(bits))


def test_distribution_and_independence() -> None:
    box = Box((-30, 0, 5), (34, 64, 69))
    first, second = Noise(7).normals(box), Noise(8).normals(box)
    count = first.size
    assert stats.kstest(first[::4].ravel(), "norm").pvalue > 0.001
    assert abs(first.mean()) < 4 / count**0.5
    assert abs(first.var() - 1) < 4 * (2 / count) ** 0.5
    for other in (
        second,
        Noise(7, 1).normals(box),
        np.roll(first, 1, 0),
        np.roll(first, 1, 1),
        np.roll(first, 1, 2),
    ):
        assert abs((first * other).mean()) < 4 / count**0.5
    uniforms = Noise(7).uniforms(box)
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    assert stats.kstest(uniforms.ravel()[::4], "uniform").pvalue > 0.001
    latent = Noise(7).latent(Box((0, 0, 0), (20, 20, 20)), 8).reshape(8, -1)
    assert np.abs(np.corrcoef(latent) - np.eye(8)).max() < 0.06


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**64}, {"seed": 0, "stream": 65536}])
def test_wrong_seeds(wrong: dict[str, int]) -> None:
    with pytest.raises(
        ArgumentError,
        match=r"seed (-1|18446744073709551616) is not between 0|noise needs 0 <= stream",
    ):
        Noise(**wrong)
    with pytest.raises(ArgumentError, match="numbers 0 to 65535"):
        Noise(0).words(Box((0, 0, 0), (1, 1, 1)), 65536)
