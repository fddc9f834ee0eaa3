"""The verbs `fit_imaging` and `render`: from a stack to a model, from labels to grey values."""

import json
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.generators import GaussianField, LevelCuts
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.stages.imaging.imaging_file import read_imaging, write_imaging

QUIET = tim3d.Options(progress=False)
SPACING = (10.0, 5.0, 5.0)
LOOK = Imaging(
    {"pore": 60.0, "solid": 170.0}, shot=0.4, read=4.0, blur_nm=6.0, through="pore", shine=0.8, decay_nm=20.0,
    stripes=0.03, stripes_width_nm=8.0, stripes_depth_nm=15.0, drift=0.03, drift_nm=60.0,
)  # fmt: skip


@pytest.fixture
def sample(tmp_path: Path) -> str:
    cuts = LevelCuts(
        GaussianField((60.0,) * 3, SPACING, 3), (0.4, 0.6), tim3d.Phases(pore=0, solid=1)
    )
    url = str(tmp_path / "a.zarr")
    tim3d.generate(url, cuts, shape=(19, 50, 70), shard=(8, 16, 32), options=QUIET)
    write_imaging(tmp_path / "look.json", LOOK, {})
    return url


def test_blocks_do_not_show(sample: str, tmp_path: Path) -> None:
    look = tmp_path / "look.json"
    whole = tim3d.render(sample, look, seed=3, options=QUIET).values
    odd = tim3d.Options(progress=False, block=(8, 16, 64))
    assert np.array_equal(tim3d.render(sample, look, seed=3, out="b", options=odd).values, whole)
    assert (tim3d.render(sample, look, seed=4, out="c", options=QUIET).values != whole).any()


def test_the_table_of_slices_is_that_of_the_voxels(sample: str, tmp_path: Path) -> None:
    options = tim3d.Options(progress=False, block=(8, 16, 32))
    grey = tim3d.render(sample, tmp_path / "look.json", options=options).values.astype(np.float64)
    table = tim3d.open_dataset(sample, "raw_slices")
    for name, values in (
        ("grey_mean", grey.mean((1, 2))),
        ("grey_std", grey.std((1, 2))),
        ("grey_min", grey.min((1, 2))),
        ("grey_max", grey.max((1, 2))),
        ("grey_lowest", (grey == 0).sum((1, 2))),
        ("grey_highest", (grey == 255).sum((1, 2))),
    ):
        assert table[name].values == pytest.approx(values, rel=1e-12)


def test_from_a_stack_to_its_model_and_back(sample: str, tmp_path: Path) -> None:
    tim3d.render(sample, tmp_path / "look.json", options=QUIET)
    fitted = tmp_path / "fitted.json"
    typed = ["fit-imaging", sample, str(fitted), "--phases", "pore,solid", "--through", "pore"]
    assert main(typed) == 0
    model = read_imaging(fitted)
    assert model.levels == pytest.approx(LOOK.levels, abs=12)
    before = fitted.read_bytes()
    assert main(typed) == 0
    assert fitted.read_bytes() == before
    tim3d.render(sample, fitted, out="again", options=QUIET)
    with pytest.raises(MixedRunError, match="something else"):
        tim3d.fit_imaging(sample, fitted, phases=["pore", "solid"], progress=False)


def test_an_edited_model_is_honoured_or_refused(sample: str, tmp_path: Path) -> None:
    look = tmp_path / "look.json"
    about = json.loads(look.read_text())

    def edited(**model: object) -> Path:
        look.write_text(json.dumps(about | {"model": about["model"] | model}))
        return look

    assert read_imaging(edited(blur_nm=9)).blur_nm == 9
    for change, words in (
        ({"blurr_nm": 9}, "has no 'blurr_nm'; did you mean 'blur_nm'|blurr_nm"),
        ({"read": "4"}, "read is '4', a str"),
        ({"shine": 2.0}, "share, from 0 to 1"),
        ({"levels": {"pore": 3}}, "two or more phases"),
    ):
        with pytest.raises(InputError, match=words):
            read_imaging(edited(**change))
    for bad in ("", "[]", "{}"):
        look.write_text(bad)
        with pytest.raises(InputError, match="tim3d fit-imaging SAMPLE"):
            tim3d.render(sample, look, options=QUIET)


def test_bad_input_is_refused_before_work(sample: str, tmp_path: Path) -> None:
    write_imaging(tmp_path / "other.json", Imaging({"void": 1.0, "solid": 9.0}), {})
    for given, words in (
        ({"model": "other.json"}, "has the phases pore, solid"),
        ({"model": "look.json", "vary": 2.0}, "share from 0 to 1"),
        ({"model": "look.json", "seed": -1}, "seed"),
    ):
        model = tmp_path / str(given.pop("model"))
        with pytest.raises(ArgumentError, match=words):
            tim3d.render(sample, model, options=QUIET, **given)  # type: ignore[arg-type]
    tim3d.render(sample, tmp_path / "look.json", options=QUIET)
    for given, words in (
        ({"phases": ["pore"]}, "two or more phases"),
        ({"phases": ["pore", "solid"], "through": "void"}, "is not a phase"),
        ({"phases": ["pore", "solid"], "through": "solid"}, "is the brightest phase"),
        ({"phases": ["pore", "solid"], "thresholds": [1.0, 2.0]}, "1 thresholds between them"),
        ({"phases": ["pore", "solid"], "field": "phase"}, "holds labels"),
    ):
        with pytest.raises(ArgumentError, match=words):
            tim3d.fit_imaging(sample, tmp_path / "m.json", **given)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"ends with \.json"):
        tim3d.fit_imaging(sample, tmp_path / "m.txt", phases=["pore", "solid"])
    assert not (tmp_path / "m.json").exists()
