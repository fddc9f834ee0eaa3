"""Folders of images from a network for diffusion: a file depends on its number alone."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import tim3d
from tests.nets import untrained_diffusion, untrained_translator
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.kernels.generation.coarse_field import CoarseLaw
from tim3d.stages.images.generate_images import generate_images

torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
QUICK: dict[str, Any] = {
    "shape": (8, 12),
    "count": 3,
    "steps": 2,
    "device": "cpu",
    "progress": False,
}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    untrained_diffusion(tmp_path / "flow.safetensors")
    return tmp_path / "flow.safetensors"


def made(net: Path, out: Path, **given: Any) -> dict[str, bytes]:
    """Bytes of the images of a call, by their names."""
    generate_images(net, out, **{**QUICK, **given})
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.suffix != ".json"}


def test_a_folder_holds_labels_with_the_codes_of_the_network_and_is_measured(
    net: Path, tmp_path: Path
) -> None:
    found = generate_images(net, tmp_path / "out", **QUICK)
    image = np.asarray(Image.open(tmp_path / "out" / "image_00000.png"))
    assert image.shape == (8, 12)
    assert set(np.unique(image)) <= {0, 7}
    assert float(found.area_fraction.sel(image="image_00000", phase="solid")) == (image == 7).mean()
    measured = tim3d.measure_images(tmp_path / "out", in_pixels=True)
    assert measured.sizes["image"] == 3


def test_a_larger_folder_begins_with_the_smaller_one_and_a_lost_file_comes_back(
    net: Path, tmp_path: Path
) -> None:
    whole = made(net, tmp_path / "whole", count=4)
    assert len(set(whole.values())) == 4
    part = made(net, tmp_path / "out", count=2)
    assert part == {name: whole[name] for name in part}
    (tmp_path / "out" / "image_00001.png").unlink()
    (line,) = generate_images.plan(net, tmp_path / "out", **QUICK | {"count": 4})
    assert "3 of 4 images left" in str(line)
    assert made(net, tmp_path / "out", count=4) == whole
    assert generate_images.plan(net, tmp_path / "out", **QUICK | {"count": 4}) == []


def test_conditions_change_images_and_beyond_the_training_they_are_warned_of(
    net: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = made(net, tmp_path / "plain")
    given = {"material": "Cu", "temperature": "250"}
    asked = made(net, tmp_path / "asked", conditions=given)
    guided = made(net, tmp_path / "guided", conditions=given, guidance=4.0)
    assert plain != asked != guided != plain
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        made(net, tmp_path / "far", conditions={"temperature": "400"})
    assert "by 100 % of its range" in caplog.text
    with pytest.raises(MixedRunError, match="--overwrite"):
        made(net, tmp_path / "plain", conditions=given)
    assert made(net, tmp_path / "plain", conditions=given, overwrite=True) == asked


def test_a_tiff_has_the_pixels_of_the_plane(net: Path, tmp_path: Path) -> None:
    made(net, tmp_path / "out", count=1, format="tif")
    with tifffile.TiffFile(tmp_path / "out" / "image_00000.tif") as file:
        tags = file.pages[0].tags
        per_um = [a / b for a, b in (tags["XResolution"].value, tags["YResolution"].value)]
    assert per_um == pytest.approx([200, 100])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"shape": (8, 8, 8)}, "two edges"),
        ({"count": 0}, "0 images"),
        ({"steps": 0}, "steps is 0"),
        ({"guidance": 2.0}, "none is given: --conditions material=Ag"),
        ({"guidance": -0.5}, "from 0 on"),
        ({"conditions": {"temperature": "hot"}}, "temperature is 'hot'; a finite number"),
        ({"conditions": {"heat": "3"}}, "no condition 'heat'"),
        ({"conditions": {"material": "Zn"}}, "Ag, Cu"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    net: Path, tmp_path: Path, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        generate_images.plan(net, tmp_path / "out", **{**QUICK, **given})


def test_a_network_without_conditions_takes_no_guidance_and_a_file_is_no_folder(
    tmp_path: Path,
) -> None:
    from tim3d.models.diffusion.network_spec import LocalNetworkSpec

    file, other = tmp_path / "n.safetensors", tmp_path / "translator.safetensors"
    untrained_diffusion(file, spec=LocalNetworkSpec(2, 1, (4,), unshuffle=1), conditions=())
    untrained_translator(other)
    with pytest.raises(ArgumentError, match="trained without any: leave --guidance out"):
        generate_images.plan(file, tmp_path / "out", guidance=2.0)
    with pytest.raises(ArgumentError, match="is a file, and a folder of masks is written"):
        generate_images.plan(file, file)
    with pytest.raises(CheckpointError, match="that of tim3d train-diffusion"):
        generate_images.plan(other, tmp_path / "out")


def test_other_networks_are_refused(net: Path, tmp_path: Path) -> None:
    from tim3d.models.diffusion.network_spec import LocalNetworkSpec

    spec = LocalNetworkSpec(2, 1, (4,), unshuffle=1)
    for name, changes, text in [
        ("grey", {"phases": None, "spec": spec, "conditions": ()}, "grey values"),
        (
            "volumes",
            {"spec": replace(spec, dimensions=3), "conditions": ()},
            "a network of volumes",
        ),
    ]:
        untrained_diffusion(tmp_path / f"{name}.safetensors", **changes)
        with pytest.raises(ArgumentError, match=text):
            made(tmp_path / f"{name}.safetensors", tmp_path / "out")
    net.write_bytes(net.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        made(net, tmp_path / "out")


def test_the_amount_of_the_coarse_field_changes_images_of_networks_that_have_one(
    net: Path, tmp_path: Path
) -> None:
    from tim3d.models.diffusion.network_spec import LocalNetworkSpec

    law = CoarseLaw(60.0, 0.4, 0.004, 0.01, 150.0, 40.0)
    spec, coarse = LocalNetworkSpec(2, 1, (4,), unshuffle=1, coarse=1), tmp_path / "c.safetensors"
    untrained_diffusion(coarse, spec=spec, conditions=(), coarse=law)
    images = {n: made(coarse, tmp_path / f"{n}", coarse=n) for n in (0.0, 1.0, 2.0)}
    assert images[0.0] != images[1.0] != images[2.0]
    whole = made(coarse, tmp_path / "whole", count=4)
    assert images[1.0] == {name: whole[name] for name in images[1.0]}
    assert json.loads((tmp_path / "2.0" / "masks.json").read_text())["question"]["coarse"] == 2
    with pytest.raises(ArgumentError, match=r"from 0 to below 4\.14"):
        generate_images.plan(coarse, tmp_path / "out", coarse=5.0)
    with pytest.raises(ArgumentError, match="--coarse -1: give a number from 0 on"):
        generate_images.plan(coarse, tmp_path / "out", coarse=-1.0)
    with pytest.raises(ArgumentError, match="trained without the local fraction: leave --coarse"):
        generate_images.plan(net, tmp_path / "out", coarse=0.5)
