"""Objects of a stack by the decoder of micro-sam: the expected ones, whatever the blocks and windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import tim3d
from tests.promptable import Discs, decoder_weights, saved_folder
from tim3d import Options
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.grid import Box
from tim3d.kernels.masks.distance_watershed import Limits
from tim3d.models.promptable.decoder_segmenter import DecoderSegmenter
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting import Decoder, Grid
from tim3d.storage import store

SHAPE = (4, 40, 72)
# Middles and radii of particles, of which the first two touch.
BALLS = ((20, 16, 9), (20, 34, 9), (18, 58, 6))
QUIET = Options(progress=False, overwrite=True)


@dataclass(frozen=True)
class Truthful(Discs):
    """A network whose decoder knows the particles: their number is their grey value over 40."""

    kind: ClassVar[str] = "truthful"

    def decoded(self, embedding: Any, shape: tuple[int, int]) -> np.ndarray:
        numbers = np.rint(embedding[0][0] / 40).astype(int)
        maps = np.ones((3, *shape), np.float32)
        maps[0] = numbers > 0
        for number in set(numbers.flat) - {0}:
            deep = ndimage.distance_transform_edt(np.pad(numbers == number, 1))[1:-1, 1:-1]
            inside = numbers == number
            maps[1:, inside] = 1 - deep[inside] / deep.max()
        return maps


def particles() -> np.ndarray:
    """Numbers of the particles."""
    rows, columns = np.indices(SHAPE[1:])
    plane = np.zeros(SHAPE[1:], np.uint8)
    for number, (y, x, radius) in enumerate(BALLS, 1):
        plane[np.hypot(rows - y, columns - x) <= radius] = number
    return np.repeat(plane[None], SHAPE[0], 0)


def segmenter(pixels: tuple[int, int] = SHAPE[1:], border: int = 0) -> DecoderSegmenter:
    """The segmenter of the network that knows the particles."""
    asking = PromptedSegmenter(Truthful(), Grid(side=1), AsObjects(), pixels, border=border)
    return DecoderSegmenter(asking, Limits(smooth=0, smooth_distances=0))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The particles in grey values, and by number."""
    folder = tmp_path_factory.mktemp("decoder")
    for name, values in (("raw", 40 * particles()), ("truth", particles())):
        np.save(folder / f"{name}.npy", values)
    path = str(folder / "a.zarr")
    tim3d.ingest(
        folder / "raw.npy", path, voxel_size={"z": 10, "y": 5, "x": 5}, shard=(2, 16, 32),
        accept=["saturated"], options=QUIET,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny SAM with a random tiny decoder."""
    import torch

    folder = tmp_path_factory.mktemp("model")
    torch.save(decoder_weights(False), folder / "vit_b_decoder.pt")
    source = saved_folder("sam", folder / "sam")
    tim3d.import_network(source, folder / "sam.safetensors")
    return tim3d.import_network(
        source, folder / "both.safetensors", decoder=folder / "vit_b_decoder.pt"
    )


@pytest.mark.parametrize(("pixels", "border"), [(SHAPE[1:], 0), ((40, 48), 10)])
def test_particles_are_told_apart_and_linked_through_the_slices(sample, pixels, border):
    how = {"segmenter": segmenter(pixels, border), "out": "found", "options": QUIET}
    labels = tim3d.segment(sample, **how).values
    numbers = tim3d.open_field(sample, "found_objects")
    truth = particles()
    assert (labels == (truth > 0)).all()
    assert numbers.attrs["objects"] == 3
    for one in (1, 2, 3):
        inside = numbers.values[truth == one]
        assert (inside == np.bincount(inside).argmax()).mean() > 0.95
    assert (tim3d.open_field(sample, "found_foreground").values == (truth > 0)).all()


@given(data=st.data())
def test_no_block_shows_in_any_map(data):
    value = segmenter((24, 32), 6)
    grey = 40 * particles()
    whole = Box.whole(SHAPE)
    expected = value.region(SHAPE, whole, grey, whole)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in SHAPE)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, SHAPE, strict=True))
    core = Box(start, stop)
    box = value.read_box(SHAPE, core)
    found = value.region(SHAPE, core, grey[box.slices], box)
    for name, values in found.items():
        assert (values == expected[name][core.slices]).all(), name


LOOSE = Decoder(foreground=0.3, centre=0.7, boundary=0.7, smallest=3)


@pytest.mark.long
def test_the_verb_from_a_file_keeps_the_plan_and_the_bits(sample, model):
    how = {"model": model, "prompts": LOOSE, "options": QUIET}
    (plan, *_) = tim3d.plan("segment_prompted", sample, out="by_decoder", **how)
    other = tim3d.plan(
        "embed", sample, model=model.with_name("sam.safetensors"), out="other", options=QUIET
    )[0]
    layers = 12 * 4 * 4 * (16 * 8) ** 2  # twelve of the finest, of 4 channels in float32
    assert plan.peak_bytes > other.peak_bytes + layers
    labels = tim3d.segment_prompted(sample, out="by_decoder", **how)
    numbers = tim3d.open_field(sample, "by_decoder_objects").values
    assert numbers.any()
    assert ((numbers > 0) == (labels.values == 1)).all()
    blocks = Options(progress=False, overwrite=True, block=(2, 48, 96))
    tim3d.embed(sample, model=model, options=QUIET)
    for out, more in (
        ("in_blocks", {"options": blocks}), ("kept", {"options": QUIET, "embeddings": "raw_embedding"}),
    ):  # fmt: skip
        tim3d.segment_prompted(sample, out=out, **how | more)
        for name in ("objects", "foreground", "centre_distance", "boundary_distance"):
            one, other = (
                tim3d.open_field(sample, f"{o}_{name}").values for o in (out, "by_decoder")
            )
            assert (one == other).all()
    tim3d.link_slices(sample, "by_decoder_objects", options=QUIET)
    scores = tim3d.evaluate(sample, field="by_decoder_objects", truth="kept_objects", options=QUIET)
    assert float(scores.panoptic_quality.values.max()) == 1.0


def test_the_shell_has_a_word_for_it(sample, model, capsys):
    call = ["segment-prompted", sample, "--model", str(model), "--out", "planned", "--plan"]
    assert main([*call, "--prompts", "decoder:smallest=50,centre=0.4"]) == 0
    assert "planned/s0: 2 of 2 blocks" in capsys.readouterr().out
    assert str(Decoder(smallest=50, centre=0.4)) == "decoder:centre=0.4,smallest=50"


def test_what_is_refused(sample, model):
    def refused(error: type[Exception], said: str, **how: Any) -> None:
        with pytest.raises(error, match=said):
            tim3d.segment_prompted(
                sample,
                **{"model": model, "prompts": Decoder(), "out": "never", "options": QUIET} | how,
            )

    refused(CheckpointError, "has no decoder.*--decoder", model=model.with_name("sam.safetensors"))
    refused(ArgumentError, "--masks and --batch change nothing", masks=AsObjects())
    refused(ArgumentError, "--masks and --batch change nothing", batch=8)
    refused(ArgumentError, "lie from 0 to 1", prompts=Decoder(foreground=1.5))
    refused(ArgumentError, "smallest is 1 or more", prompts=Decoder(smallest=0))
    refused(ArgumentError, "give a window", halo=8)
    with pytest.raises(ArgumentError, match=r"without prompts.*segment-prompted"):
        tim3d.tune_masks(sample, "r.json", model=model, prompts=Decoder(), truth="raw")
    with pytest.raises(CheckpointError, match="--prompts decoder"):
        tim3d.segment(sample, model=model, out="never", options=QUIET)
    assert "never" not in store.fields(sample)
