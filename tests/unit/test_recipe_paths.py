"""A recipe of somebody else names only files that it may, and only where files belong: every argument is classified."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tim3d.cli.parsing import OPTIONS, verb
from tim3d.cli.recipe import NOT_STEPS, load_recipe
from tim3d.cli.recipe_paths import TEXTS, is_path
from tim3d.errors import ArgumentError
from tim3d.verbs import PYTHON_ONLY, VERBS

# Arguments that are numbers, choices, or names of fields, phases and results. A new argument of a
# verb fails the test below until it stands here, or among the paths or the texts of recipe_paths:
# think of what a stranger could name.
WORDS = """
annotation architecture as_voxels aspect average axis batch blur cell cell_nm checkpoint compactness component
conductivity connectivity contact context correlation_nm critic_steps crop decoder_channels depth descriptors device
diameter_nm directions dtype encoder epochs even_z every faces field flux_tolerance fractions halo held_out
interface keep keep_flux keep_potential kind labels lags lags_nm learning_rate loading merge method metric minutes
missing_chunks mixed_precision mode norm normalisation orientation other_grid out patience period periodic
phase phases pixel_size polarity precision preset probabilities quantity raw richardson scale seam seed seeds shape
shard sides size sizes slices smoothing solid_fraction spread steps superpixel_threshold threads threshold thresholds
tile tolerance transport truth validation_fraction voxel_size window windows windows_nm x y z
beside cells drawing format unit vectors
scene time channel level convert deep accept only_tables
to_8_bit subset names values in_pixels true_phases accept_missing objects
target features leave_out derive smallest largest fixed group hold_out log_target physics bulk contrast
gaussian_process level permutations draws distance pore density plain regions
neck instances substrate rows
bond_line_nm film_nm bodies pressure roughness voids delamination substrates
skeleton spurs joins interface_area particles keep_sensitivity step results drawings
baseline resamples run
uncertainty draws calibration correlation distance most patch
scales planar trees leaf most
wavelength_nm ripening grain_nm boundary_nm growth through vary to like_field share
reach pool channels
objective widths blocks unshuffle guidance
critic_widths
dimensions planes layers limits least_diameter rule overlap heights boundary
validate folds by count confident
loss class_weights augment crops schedule encoder_rate classes mean std
prompts masks embeddings preprocessing adapt per_sample greys look per_prediction weight outside
heights boundary rule overlap limits least_diameter width
dropout passes
adapt rank give jitter reach least
score parameters
relabellings fields evaluation
evaluate volumes edge entry
sampler harmonise conditions stored copies scatter
coarse coarse_window coarse_field
"""
PLAIN = set(WORDS.split())
# Arguments that name files, beside the sample: the same for a new one.
FILES = {
    "export.out",
    "fidelity.volumes", "fidelity.micrograph", "generate.s2", "generate.weights", "import_generator.checkpoint",
    "generate.coarse_sample",
    "import_generator.weights", "library.folder", "library.add", "library.micrograph", "library.train",
    "library.page", "library.csv", "fit_imaging.model", "render.model", "adapt.like", "likeness.like",
    "train_translator.like", "train_translator.model", "translate.model",
    "import_network.checkpoint", "import_network.weights", "import_network.decoder",
    "ingest.source", "report.model", "report.out", "segment.model", "segment_prompted.model", "embed.model",
    "propagate.model", "fine_tune.model", "fine_tune.start_from", "tune_masks.rule", "tune_masks.model",
    "simulate.folder", "train.model", "train.encoder_weights", "train.start_from",
    "train.also", "train.validate",
    "train_strokes.model", "train_generator.micrograph", "train_generator.out",
    "train_cgan.micrograph", "train_cgan.out", "train_cgan.conditions",
    "train_diffusion.micrograph", "train_diffusion.out", "train_diffusion.conditions",
    "inspect.source", "prepare.tables",
    "generate_images.weights", "generate_images.out",
    "segment_images.folder", "segment_images.out", "segment_images.model", "segment_images.splits",
    "measure_images.folder", "measure_images.csv", "measure_images.splits",
    "evaluate_images.folder", "evaluate_images.truth", "evaluate_images.csv", "evaluate_images.splits",
    "evaluate_images.baseline", "fidelity_images.conditions", "fidelity_images.csv",
    "paint.folder", "take_painted.folder",
    "train_images.folder", "train_images.masks", "train_images.model", "train_images.encoder_weights",
    "train_images.start_from", "train_images.splits",
    "train_strokes_images.folder", "train_strokes_images.masks", "train_strokes_images.model",
    "train_strokes_images.splits",
    "tune_masks_images.folder", "tune_masks_images.truth", "tune_masks_images.rule", "tune_masks_images.model",
    "tune_masks_images.splits",
    "points.folder", "count_points.table",
    "plot.out", "table.samples", "table.metadata", "table.csv", "table.summary",
    "train_surrogate.samples", "train_surrogate.model", "train_surrogate.images",
    "predict_images.folder", "predict_images.model", "predict_images.splits", "predict_images.csv",
    "relate.source", "relate.metadata", "relate.csv", "relate.json", "relate.page",
    "contact.samples", "contact.csv",
    "bond_line.samples", "bond_line.csv", "bond_line.json", "bond_line.page",
}  # fmt: skip
ASKED = [
    (name, argument)
    for name in VERBS
    if name not in NOT_STEPS
    for argument in inspect.signature(verb(name)).parameters
    if argument not in {*OPTIONS, *PYTHON_ONLY}
]


def kind(name: str, argument: str) -> str:
    """What an argument is said to be, on its own or for all verbs."""
    if is_path(name, argument):
        return "path"
    return (
        "text"
        if {f"{name}.{argument}", f"*.{argument}"} & TEXTS
        else "plain"
        if argument in PLAIN
        else "nothing"
    )


def test_every_argument_of_every_verb_is_classified() -> None:
    assert [
        f"{name}.{argument}" for name, argument in ASKED if kind(name, argument) == "nothing"
    ] == []


def test_what_names_files_is_this() -> None:
    assert {
        f"{name}.{argument}"
        for name, argument in ASKED
        if argument != "sample" and is_path(name, argument)
    } == FILES


def test_the_lists_hold_nothing_that_no_verb_has() -> None:
    there = (
        {f"{name}.{argument}" for name, argument in ASKED}
        | {f"*.{argument}" for _, argument in ASKED}
        | {"*.name"}
    )
    assert there >= TEXTS
    assert {argument for _, argument in ASKED} >= PLAIN


def load(folder: Path, name: str, argument: str, value: Any) -> None:
    text = f"sample = 'a.zarr'\n[[step]]\nname = 'one'\nverb = '{name}'\n{argument} = {value}\n"
    (folder / "r.toml").write_text(text)
    load_recipe(folder / "r.toml")


OUT = [
    "/etc/passwd",
    "../a",
    "a/../../b",
    "~/.ssh/id",
    "file:///etc/passwd",
    "https://host/a",
    "ssh://host/a",
]
OUT += [
    "github://o:r@main/a",
    "s3::file:///etc",
    "zip://a::/etc/b",
    "simplecache::s3://bucket/a",
    "//etc/passwd",
    # A chain that begins in a store.
    "s3://bucket/a::file:///etc",
    "s3://bucket/a::https://host/b",
    "memory://a::/etc/b",
]
NESTED = ["'{}'", "['a', '{}']", "{{ pore = '{}' }}", "{{ '{}' = 1 }}", "[[['{}']]]"]


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.long
def test_whatever_leads_out_is_refused_in_every_argument_that_is_no_text(
    nested: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, argument in (one for one in ASKED if kind(*one) != "text"):
        for out in OUT:
            with pytest.raises(
                ArgumentError, match=f"one.{argument} is .*(leads out of|looks like a path)"
            ):
                load(tmp_path, name, argument, nested.format(out))


def test_a_sample_that_leads_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "r.toml"
    recipe.write_text("sample = 'a.zarr'\n[[step]]\nverb = 'label'\n")
    load_recipe(recipe)
    for out in OUT:
        recipe.write_text(f"sample = '{out}'\n[[step]]\nverb = 'label'\n")
        with pytest.raises(ArgumentError, match=r"sample is .*leads out of"):
            load_recipe(recipe)


@pytest.mark.parametrize("key", ["sample", "one.out", "other.field", "cluster.workers"])
def test_a_setting_vouches_for_its_own_key_and_for_no_other(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(
        "sample = 'a.zarr'\n[[step]]\nname = 'one'\nverb = 'report'\nout = '/etc/a.html'\n"
        "[[step]]\nname = 'other'\nverb = 'measure'\n"
    )
    settings = [f"{key}={'2' if 'workers' in key else '/tmp/b.html' if 'out' in key else 'b'}"]
    if key == "one.out":
        assert load_recipe(tmp_path / "r.toml", settings).steps[0].arguments["out"] == "/tmp/b.html"
        return
    with pytest.raises(ArgumentError, match=r"one.out is '/etc/a.html', which leads out of"):
        load_recipe(tmp_path / "r.toml", settings)


@pytest.mark.long
def test_what_belongs_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, argument in ASKED:
        texts = ["raw", "solid", "+z", "0:200", "cuda:1", "a:b", "64,512,512", "1e-3", "Unet"]
        texts += {
            "path": ["scan/*.tif", "s3://bucket/a", "./a", str(tmp_path / "a")],
            "text": ["W/m/K", "A/B"],
        }.get(kind(name, argument), [])
        for text in texts:
            load(tmp_path, name, argument, f"'{text}'")


@pytest.mark.parametrize(
    "form",
    [
        "'align:table={}'",
        "['median', 'align:table={}']",
        "[{{ step = 'align', table = '{}' }}]",
    ],
)
def test_a_table_of_slices_is_a_path_as_any_other(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    load(tmp_path, "prepare", "steps", form.format("tables/align.csv"))
    load(tmp_path, "prepare", "steps", form.format(tmp_path / "tables" / "align.csv"))
    for out in OUT:
        with pytest.raises(ArgumentError, match=r"one.steps is .*(leads out of|looks like a path)"):
            load(tmp_path, "prepare", "steps", form.format(out))
    for place in ("align:window={}", "align:{}=1", "{}:window=1", "median:table={}", "{}"):
        with pytest.raises(ArgumentError, match=r"one.steps is .*looks like a path"):
            load(tmp_path, "prepare", "steps", f"['{place.format('tables/align.csv')}']")


@pytest.mark.parametrize(
    "line",
    [
        "tls = '/etc/keys'",
        "site = 'a.toml'",
        "kind = 'tcp://a:1'",
        "kind = 'tls'",
        "workers = '/a'",
        "new = '~a'",
    ],
)
def test_a_step_named_cluster_does_not_hide_the_cluster(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = line.partition(" ")[0]
    text = f"sample = 'a.zarr'\n[cluster]\n{line}\n[[step]]\nname = 'cluster'\nverb = 'measure'\n{key} = 'a'\n"
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ArgumentError, match=f"cluster.{key} is"):
        load_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize("line", ["tls = 'keys'", "tls = 'keys/tls'", "workers = 2"])
def test_files_of_the_cluster_may_lie_where_the_recipe_lies(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"sample = 'a.zarr'\n[cluster]\n{line}\n[[step]]\nverb = 'measure'\n"
    (tmp_path / "r.toml").write_text(text)
    load_recipe(tmp_path / "r.toml")
    for out in OUT:
        (tmp_path / "r.toml").write_text(text.replace(line, f"tls = '{out}'"))
        with pytest.raises(ArgumentError, match=r"cluster.tls is .*leads out of"):
            load_recipe(tmp_path / "r.toml")
