"""Particles reach the user: in descriptions, tables, reports, figures and files, each number as it was found."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tim3d
from tests.exports import QUIET, exported
from tim3d import plotting
from tim3d.errors import ArgumentError
from tim3d.plotting.style import WIDTH

NODE = "phase_particles_phase=copper"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three balls, two of which overlap, in a volume whose border cuts none of them, and a bit of another phase."""
    folder = tmp_path_factory.mktemp("particles")
    places = np.indices((20, 24, 30))
    labels = np.zeros(places.shape[1:], np.uint8)
    for centre, radius in (((9.7, 7, 7), 5), ((9.7, 15, 8), 5), ((9, 11, 22), 6)):
        far = sum((p - c) ** 2 for p, c in zip(places, centre, strict=True))
        labels[far <= radius**2] = 1
    labels[0, 0, 0] = 2
    np.save(folder / "labels.npy", labels)
    made = str(folder / "a.zarr")
    phases = tim3d.Phases(pore=0, copper=1, dirt=2)
    tim3d.ingest(
        folder / "labels.npy", made, voxel_size=dict.fromkeys("zyx", 10), field="phase", phases=phases,
        options=QUIET,
    )  # fmt: skip
    tim3d.distance(made, options=QUIET)
    tim3d.particles(made, phase="copper", options=QUIET)
    tim3d.particles(made, phase="dirt", options=QUIET)
    return made


def test_particles_of_phases_stand_beside_each_other(sample: str) -> None:
    found = tim3d.describe(sample, ["particles"])
    assert found.particle_count.sel(phase="copper") == 3
    assert found.particle_count.sel(phase="dirt") == 1
    assert np.isnan(found.particle_count.sel(phase="pore"))
    # The one voxel of dirt lies on the border, and no other counts for its mean.
    assert np.isnan(found.particle_diameter_mean.sel(phase="dirt"))
    assert "particle" not in found.dims
    assert found.particle_count.attrs["conditions"] == "neck: 0.75"


def test_another_neck_stands_beside_the_first(sample: str) -> None:
    tim3d.particles(sample, phase="copper", neck=0.3, out="coarse", options=QUIET)
    assert tim3d.open_field(sample, "coarse_instances").max() == 2
    found = tim3d.describe(sample, ["particles"])
    counts = found.particle_count.sel(phase="copper")
    assert counts.sel(particles="coarse") == 2
    assert counts.sel(particles=NODE) == 3


def test_rows_are_a_table_of_pandas(sample: str) -> None:
    rows = tim3d.open_dataset(sample, NODE)
    table = rows[["particle_diameter", "particle_coordination"]].to_dataframe()
    assert table.index.name == "particle"
    assert sorted(table.particle_coordination) == [0, 1, 1]
    assert rows.sizes["contact"] == 1


def test_the_rows_leave_as_a_file(sample: str, tmp_path: Path) -> None:
    rows = tim3d.open_dataset(sample, NODE)
    with exported(sample, NODE, tmp_path / "a.csv").open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["variable"] == "particle_volume"]
    assert [int(row["particle"]) for row in found] == rows.particle.values.tolist()
    assert [float(row["value"]) for row in found] == rows.particle_volume.values.tolist()


def test_a_file_has_a_row_for_each_particle(sample: str, tmp_path: Path) -> None:
    rows = tim3d.open_dataset(sample, NODE)
    with exported(sample, NODE, tmp_path / "a.csv", rows="particle").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [int(row["particle"]) for row in found] == rows.particle.values.tolist()
    heights = [float(row["particle_centroid.z [nm]"]) for row in found]
    assert heights == rows.particle_centroid.sel(axis="z").values.tolist()
    assert [row["particle_touches.x.high"] for row in found] == ["0", "0", "0"]
    with exported(sample, NODE, tmp_path / "b.csv", rows="contact").open(newline="") as file:
        (contact,) = csv.DictReader(file)
    assert float(contact["contact_area [nm2]"]) == rows.contact_area.item()
    for field in (NODE, "phase"):
        with pytest.raises(ArgumentError, match=r"--rows grain: .* has no rows of that"):
            exported(sample, field, tmp_path / "c.csv", rows="grain")


@pytest.mark.long
def test_the_report_shows_particles(sample: str, tmp_path: Path) -> None:
    page = Path(tim3d.report(sample, tmp_path / "a.html")).read_text()
    assert "<h2>Particles</h2>" in page
    assert "its radius is more than 75 % of that of the smaller side" in page
    assert "particle_count_inside" in page


def test_the_figure_states_what_it_counts(sample: str) -> None:
    rows = tim3d.open_dataset(sample, NODE)
    figure = plotting.particle_figure(rows)
    assert figure.get_size_inches()[0] == WIDTH
    said = [t.get_text() for ax in figure.axes for t in ax.get_legend().get_texts()]
    assert said[:2] == ["3 particles clear of the border, weighted", "all 3 as they are"]
    cut: xr.Dataset = rows.assign(particle_weight=rows.particle_weight * 0)
    said = [t.get_text() for t in plotting.particle_figure(cut).axes[1].get_legend().get_texts()]
    assert said == ["all particles touch the border"]


def test_particles_that_the_border_cuts_are_warned_of(
    sample: str, caplog: pytest.LogCaptureFixture
) -> None:
    tim3d.particles(sample, phase="dirt", out="specks", options=QUIET)
    assert "none of the 1 particles of 'specks_instances' keeps clear of the border" in caplog.text
    caplog.clear()
    tim3d.particles(sample, phase="copper", out="grains", options=QUIET)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
