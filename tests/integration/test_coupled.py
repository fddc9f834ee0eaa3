"""Coupled descriptors are the numbers of their nodes: never recomputed, never of another field, never of a region."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage as ndi

import tim3d
from tim3d.cli.main import build_parser, main
from tim3d.descriptors.builtin import COUPLED
from tim3d.descriptors.coupled import Coupled
from tim3d.errors import ArgumentError, MissingFieldError, MixedRunError
from tim3d.stages.representative import quantities
from tim3d.storage import store

SPACING = (20.0, 5.0, 4.0)
SHAPE = (12, 18, 21)
PHASES = tim3d.Phases(pore=0, copper=7)
K = {"pore": 0.0, "copper": 400.5}
QUIET = tim3d.Options(progress=False)
FACES = ("+z", "-z", "+y", "-y", "+x", "-x")
FLUX = "phase_transport_pore=0,copper=400.5,axis=z+x,richardson=True"
NODES = (FLUX, "phase_components", "phase_geodesic")


def volume(seed: int = 0) -> NDArray[np.uint8]:
    smooth = ndi.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 2)
    return np.where(smooth > -0.05, 7, 0).astype(np.uint8)


def ingest(folder: Path, labels: NDArray[np.uint8], **options: Any) -> str:
    np.save(folder / "phase.npy", labels)
    url, size = str(folder / "a.zarr"), dict(zip("zyx", SPACING, strict=True))
    how = tim3d.Options(progress=False, **options)
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=size,
        field="phase",
        phases=PHASES,
        shard=(4, 9, 21),
        options=how,
    )
    return url


def _names(*names: str) -> NDArray[np.object_]:
    return np.array(names, dtype=object)


def geodesic(url: str) -> xr.Dataset:
    """A node as the verb `geodesic` writes it, of one phase only, with numbers of no meaning."""
    about = {"units": "1", "long_name": "a number", "method": "none", "reference": "none"}
    values = 1 + np.arange(6.0)[None] / 100
    profile = 1 + np.arange(float(SHAPE[0]))[None] / 100
    found = xr.Dataset(
        {
            "geodesic_tortuosity": (("phase", "direction"), values, about),
            "geodesic_tortuosity_mean": ("phase", [1.025], about),
            "plane_geodesic_tortuosity_z_up": (("phase", "z"), profile, about),
        },
        {
            "phase": _names("copper"),
            "direction": _names(*FACES),
            "z": ("z", (np.arange(SHAPE[0]) + 0.5) * SPACING[0]),
        },
        {"metric": "eikonal"},
    )
    mark = store.node_attributes(url, "phase")["fingerprint"]
    record = store.provenance("0" * 64, {}, {"phase": mark}) | {"verb": "geodesic"}
    store.write_dataset(url, "phase_geodesic", found, record)
    return found


def computed(folder: Path, seed: int = 0, *, measured: bool = True) -> str:
    """A sample on which every verb was run."""
    url = ingest(folder, volume(seed))
    tim3d.label(url, options=QUIET)
    tim3d.solve(url, conductivity=K, axis=["z", "x"], richardson=True, options=QUIET)
    geodesic(url)
    if measured:
        blocks = tim3d.Options(progress=False, block=(4, 9, 21))
        tim3d.measure(url, ["phase_fraction", "specific_surface"], options=blocks)
    return url


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    return computed(tmp_path_factory.mktemp("coupled"))


@pytest.fixture
def no_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "read_box", None)


NAMES = [
    "phase_fraction",
    "effective_conductivity",
    "tortuosity_factor",
    "geodesic_tortuosity",
    "percolation",
]


@pytest.mark.usefixtures("no_voxel")
@pytest.mark.parametrize("how", ["describe", "describe all", "measure"])
def test_values_are_those_of_the_nodes_and_no_voxel_is_read(sample: str, how: str) -> None:
    wanted = [*NAMES[1:], "phase_fraction", "specific_surface"]
    found = {
        "describe": lambda: tim3d.describe(sample, wanted),
        "describe all": lambda: tim3d.describe(sample),
        "measure": lambda: tim3d.measure(sample, wanted, options=QUIET),
    }[how]()
    flux, parts, path = (tim3d.open_dataset(sample, node) for node in NODES)
    for axis in ("z", "x"):
        for name in ("effective_conductivity", "tortuosity_factor_total_limit", "flux_spread"):
            assert found[name].sel(axis=axis) == flux[name].sel(axis=axis)
        assert found.flux_percolates.sel(axis=axis) == flux.percolates.sel(axis=axis)
    assert found.effective_conductivity.sel(axis="y").isnull()  # not solved
    assert (
        found.conductivity_hashin_shtrikman_upper.max()
        == flux.conductivity_hashin_shtrikman_upper.max()
    )
    assert found.phase_conductivity.sel(phase=list(K)).values.tolist() == list(K.values())
    for name in ("percolating_fraction", "dead_end_fraction", "isolated_fraction", "percolates"):
        np.testing.assert_array_equal(found[name].values, parts[name].values)
    assert not any(
        str(name).startswith("component_") for name in set(found.data_vars) - {"component_count"}
    )
    np.testing.assert_array_equal(
        found.geodesic_tortuosity.sel(phase=["copper"]), path.geodesic_tortuosity
    )
    np.testing.assert_array_equal(
        found.plane_geodesic_tortuosity_z_up.sel(phase="copper"),
        path.plane_geodesic_tortuosity_z_up[0],
    )
    assert found.geodesic_tortuosity.sel(phase="pore").isnull().all()
    assert found.phase_fraction.sel(phase="copper") == np.mean(volume() == 7)
    assert found.attrs["end_nm"] == [n * s for n, s in zip(SHAPE, SPACING, strict=True)]


def test_every_variable_keeps_unit_name_method_reference_and_says_its_conditions(
    sample: str,
) -> None:
    found = tim3d.describe(sample, ["effective_conductivity", "geodesic_tortuosity"])
    k = found.effective_conductivity.attrs
    assert k["units"] == "W m-1 K-1" == found.phase_conductivity.attrs["units"]
    assert all(k[name] for name in ("long_name", "method", "reference"))
    assert "dirichlet: outer faces, L = N h; sides: insulated" in k["conditions"]
    assert "copper=400.5" in k["conditions"]
    assert found.geodesic_tortuosity.attrs["conditions"] == "metric: eikonal"


def test_results_of_another_name_are_described_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, dry = ingest(tmp_path, volume()), "phase_transport_pore=1,copper=400"
    by_name = {
        node: tim3d.solve(url, conductivity={"pore": k, "copper": 400.0}, out=out, options=QUIET)
        for node, out, k in ((dry, "", 1.0), ("wet", "wet", 20.0))
    }
    both = tim3d.describe(url, ["effective_conductivity"])
    assert both.transport.values.tolist() == [dry, "wet"]
    for node, solved in by_name.items():
        found = tim3d.describe(url, ["effective_conductivity"], transport=node)
        assert found.effective_conductivity.sel(axis="z") == solved.effective_conductivity.sel(
            axis="z"
        )
        assert both.effective_conductivity.sel(
            transport=node, axis="z"
        ) == solved.effective_conductivity.sel(axis="z")
        assert found.phase_conductivity.sel(phase="pore") == solved.attrs["conductivity"]["pore"]
    assert main(["describe", url, "--transport", "wet"]) == 0
    assert "effective_conductivity" in capsys.readouterr().out
    with pytest.raises(
        MissingFieldError, match=rf"'dry' holds no results of solve.* there are {dry}, wet"
    ):
        tim3d.describe(url, transport="dry")
    new = np.where(volume(1) == 7, 0, 7).astype(np.uint8)
    ingest(tmp_path, new, overwrite=True)
    with pytest.raises(MixedRunError, match=r"'wet'.* another version of 'phase'.*--out wet"):
        tim3d.describe(url, ["effective_conductivity"], transport="wet")


def test_what_adds_up_need_not_be_measured_first(tmp_path: Path) -> None:
    url = computed(tmp_path, measured=False)
    k = tim3d.open_dataset(url, FLUX).effective_conductivity
    assert tim3d.measure(
        url, ["effective_conductivity"], options=QUIET
    ).effective_conductivity.equals(k)
    assert "phase_partials" not in store.nodes(url)
    for found in (tim3d.describe(url), tim3d.describe(url, ["effective_conductivity"])):
        np.testing.assert_array_equal(found.effective_conductivity.sel(axis=["z", "x"]), k)
    with pytest.raises(MissingFieldError, match="tim3d measure"):
        tim3d.describe(url, ["phase_fraction", "effective_conductivity"])


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("effective_conductivity", "solve {} --conductivity pore=0,copper=1 --axis z,y,x"),
        ("tortuosity_factor", "solve {} --conductivity pore=0,copper=1 --axis z,y,x"),
        ("geodesic_tortuosity", "geodesic {}"),
        ("percolation", "label {}"),
    ],
)
def test_a_missing_node_is_refused_with_the_command_that_makes_it(
    tmp_path: Path, name: str, command: str
) -> None:
    url = ingest(tmp_path, volume())
    for ask in (tim3d.measure, tim3d.describe):
        with pytest.raises(MissingFieldError) as refused:
            ask(url, ["phase_fraction", name])
        assert str(refused.value).endswith(f"Run: tim3d {command.format(url)}")
    assert store.nodes(url) == ["phase"]  # refused before any work


@pytest.mark.parametrize("name", ["tortuosity_factor", "percolation"])
def test_the_command_of_the_message_cures_it(tmp_path: Path, name: str) -> None:
    url = ingest(tmp_path, volume())
    with pytest.raises(MissingFieldError) as refused:
        tim3d.describe(url, [name])
    typed = shlex.split(str(refused.value).split("Run: tim3d ")[1])
    build_parser().parse_args(typed)
    assert main([*typed, "--quiet"]) == 0
    assert tim3d.describe(url, [name]).data_vars


def test_a_node_of_another_version_of_the_field_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = computed(tmp_path, measured=False)
    ingest(tmp_path, volume(seed=1)[:-4], overwrite=True)
    for name in NAMES[1:]:
        for ask in (tim3d.measure, tim3d.describe):
            with pytest.raises(MixedRunError, match="another version of 'phase'") as refused:
                ask(url, [name])
    tim3d.measure(url, ["phase_fraction"], options=QUIET)
    found = tim3d.describe(url)
    assert "effective_conductivity" not in found
    lines = [line.message for line in caplog.records if line.message.startswith("left out")]
    assert len(lines) == len(set(lines)) == 3  # of solve, of label and of geodesic
    with pytest.raises(MixedRunError) as refused:
        tim3d.describe(url, ["tortuosity_factor"])
    typed = shlex.split(str(refused.value).split("Renew it: tim3d ")[1])
    assert "pore=0,copper=400.5" in typed  # the conductivities of before
    assert main([*typed, "--quiet"]) == 0
    again = tim3d.open_dataset(url, FLUX).tortuosity_factor_total
    np.testing.assert_array_equal(tim3d.describe(url).tortuosity_factor_total, again)


def test_the_whole_is_not_passed_off_as_a_region(sample: str) -> None:
    part = slice(0, 80)
    for name in NAMES[1:]:
        with pytest.raises(ArgumentError, match=f"{name} couples all blocks") as refused:
            tim3d.describe(sample, ["phase_fraction", name], z=part)
        study = f"tim3d study {sample} --quantity {name}"
        assert (study in str(refused.value)) == (name in quantities.names())
    found = tim3d.describe(sample, z=part)
    assert "phase_fraction" in found
    for node in NODES:
        assert not set(found.data_vars) & set(tim3d.open_dataset(sample, node).data_vars)
    end = SHAPE[0] * SPACING[0]
    assert tim3d.describe(sample, z=slice(0, end)).identical(tim3d.describe(sample))


def test_samples_become_a_table(sample: str, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = computed(tmp_path / "b", seed=2)
    each = [tim3d.describe(url, NAMES) for url in (sample, other)]
    study = xr.concat(each, "sample", join="outer", combine_attrs="drop_conflicts", data_vars="all")
    assert study.effective_conductivity.dims[0] == "sample"
    for number, found in enumerate(each):
        for name in (
            "effective_conductivity",
            "tortuosity_factor_through",
            "phase_fraction",
            "geodesic_tortuosity",
        ):
            assert study[name].isel(sample=number).equals(found[name])
    assert study.effective_conductivity.attrs["units"] == "W m-1 K-1"


def test_the_shell_shows_and_writes_the_same_numbers(
    sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", sample, "--descriptors", ",".join(NAMES)]) == 0
    shown = capsys.readouterr().out
    lines = {
        tuple(line.split("  ")[0].split()): re.split(r"  +", line) for line in shown.splitlines()
    }
    flux = tim3d.open_dataset(sample, FLUX)
    k = float(flux.effective_conductivity.sel(axis="x"))
    _, units, value, *_ = lines["effective_conductivity", "x"]
    assert float(value.split(" ± ")[0]) == pytest.approx(k, rel=5e-4)
    assert units == "W/(m K)"
    assert ("effective_conductivity", "y") not in lines  # nothing was solved there
    assert lines["geodesic_tortuosity", "-z"][-1] == "1.010"
    assert main(["describe", sample, "--csv", str(tmp_path / "t.csv")]) == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["variable"] == "effective_conductivity"]
    assert [float(row["value"]) for row in rows if row["axis"] == "x"] == [k]
    assert {row["units"] for row in rows} == {"W m-1 K-1"}
    assert main(["measure", sample, "--descriptors", "tortuosity_factor", "--quiet"]) == 0
    assert "tortuosity_factor_through z" in capsys.readouterr().out
    assert main(["measure", sample, "--descriptors", "tortuosity_factor", "--plan"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out


def test_a_value_of_ones_own_takes_any_variable_of_a_node(sample: str) -> None:
    own = Coupled("steps", "solve", "transport", ("iterations",))
    found = tim3d.describe(sample, [own])
    np.testing.assert_array_equal(found.iterations, tim3d.open_dataset(sample, FLUX).iterations)
    nothing = Coupled("heat", "solve", "transport", ("heat_*",))
    with pytest.raises(MissingFieldError, match=r"holds no heat_\*"):
        tim3d.describe(sample, [nothing])


def test_unknown_names_are_refused_with_all_that_there_are(sample: str) -> None:
    with pytest.raises(ArgumentError, match="no descriptor 'tau'") as refused:
        tim3d.describe(sample, ["tau"])
    assert all(name in str(refused.value) for name in COUPLED)


@pytest.mark.long
def test_intrusion_into_several_phases_stands_beside_other_directions(tmp_path: Path) -> None:
    url = computed(tmp_path, seed=3)
    tim3d.distance(url, options=QUIET)
    nodes = [
        tim3d.porosimetry(url, phase=phase, directions=ways, options=QUIET)
        for phase, ways in (("pore", ["+z", "-z"]), ("copper", ["+x"]))
    ]
    found = tim3d.describe(url)
    assert found.r_min.dims == ("phase", "direction")
    for phase, one in zip(("pore", "copper"), nodes, strict=True):
        for name in ("r_max", "r_min", "constriction", "percolation_radius"):
            mine = found[name].sel(phase=phase)
            ours = mine.sel(direction=one.direction) if "direction" in mine.dims else mine
            np.testing.assert_array_equal(ours, one[name])
    assert np.isnan(found.r_min.sel(phase="copper", direction="+z"))
    assert "phase" not in found.r_max.attrs["conditions"]
    wide = tim3d.table([url])
    assert wide["r_max.pore"].values == [nodes[0].r_max]
    assert wide["percolation_radius.copper.+x"].values == [nodes[1].percolation_radius[0]]
    assert tim3d.describe(url, ["mip"]).r_max.equals(found.r_max)
