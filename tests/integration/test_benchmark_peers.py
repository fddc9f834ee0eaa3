"""The comparisons with peers run, tiny, with those peers that are here; their own parts are right."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse.linalg as spl

from benchmarks import (
    algebraic,
    peers,
    peers_correlation,
    peers_geodesic,
    peers_transport,
    scaling_transport,
)
from tim3d.kernels.conduction.conduction import conduct

MODULES = {"scikit-image": "skimage", "scikit-fmm": "skfmm"}


def here(package: str) -> bool:
    return importlib.util.find_spec(MODULES.get(package, package)) is not None


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
@pytest.mark.parametrize("solid", [0.0, 100.0])
@pytest.mark.parametrize("electrodes", peers_transport.ELECTRODES)
def test_the_independent_matrix_gives_the_conductivity(
    electrodes: algebraic.Electrodes, solid: float, spacing: tuple[float, float, float]
) -> None:
    labels = (np.random.default_rng(3).random((9, 8, 10)) < 0.5).astype(np.uint8)
    k = np.where(labels == 1, 1.0, solid)
    problem = algebraic.system(k, spacing, electrodes)
    value, spread, _ = algebraic.solved(problem, lambda a, b, _steps: spl.spsolve(a.tocsc(), b))
    if electrodes == "beyond":
        labels = np.pad(labels, ((1, 1), (0, 0), (0, 0)), mode="edge")
    place = "outer" if electrodes == "outer" else "centres"
    own = conduct(
        labels, {0: solid, 1: 1.0}, spacing=spacing, electrodes=place, tolerance=1e-8, threads=1
    )
    assert spread < 1e-9
    assert own.conductivity == pytest.approx(value, rel=1e-7)


def test_the_references_agree(tmp_path: Path) -> None:
    pytest.importorskip("pyamg", reason="pyamg is a peer: benchmarks/requirements-peers.txt")
    peers_transport.main(
        ["--folder", str(tmp_path), "--sizes", "24", "--cases", "contrast-100", "--tools", "tim3d"]
    )
    known = json.loads((tmp_path / "references.json").read_text())
    a, b = (known[f"24 contrast-100 outer {kind}"]["k"] for kind in ("algebraic", "tim3d"))
    assert a == pytest.approx(b, rel=1e-7)


@pytest.mark.slow
def test_transport_has_a_row_for_each_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = [
        "tim3d",
        *(
            n
            for n, t in peers_transport.PEERS.items()
            if t.package != "openimpala" and "tim3d" not in n
        ),
    ]
    peers_transport.main(
        ["--folder", str(tmp_path), "--sizes", "24", "--cases", "one-phase", "--tools", *tools]
    )
    out = capsys.readouterr().out
    for name in tools:
        row = next(
            line for line in out.splitlines() if line.startswith(f"| 24³ | one-phase | {name} |")
        )
        assert row.count("|") == peers_transport.COLUMNS.count("|") + 2
        assert ("not installed" in row) != here(peers_transport.PEERS[name].package)
    rows = {row["tool"]: row for row in peers.rows_in(tmp_path / "transport.jsonl")}
    assert rows["tim3d"]["wall"] > 0
    assert rows["tim3d"]["bytes"] > 0
    peers_transport.main(["--folder", str(tmp_path), "--table"])
    assert capsys.readouterr().out == out


@pytest.mark.slow
@pytest.mark.long
def test_geodesic_has_a_row_for_each_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peers_geodesic.main(["--folder", str(tmp_path), "--sizes", "24", "--cases", "anisotropic"])
    out = capsys.readouterr().out
    rows = {row["tool"]: row for row in peers.rows_in(tmp_path / "geodesic.jsonl")}
    assert list(rows) == list(peers_geodesic.TOOLS)
    for name, tool in peers_geodesic.TOOLS.items():
        row = next(
            line for line in out.splitlines() if line.startswith(f"| 24³ | anisotropic | {name} |")
        )
        assert row.count("|") == peers_geodesic.COLUMNS.count("|") + 2
        assert ("not installed" in row) != here(tool.package)
    for name in {"dijkstra3d", "skimage"} & {
        name for name, tool in peers_geodesic.TOOLS.items() if here(tool.package)
    }:
        assert rows[name]["largest"] < 1e-5
        assert rows[name]["reached"] == rows["tim3d-graph26"]["reached"]


def test_a_process_that_takes_too_long_or_too_much_leaves_a_row(tmp_path: Path) -> None:
    peers.volume(tmp_path, 24)
    job = peers.Job("tim3d", "one-phase", 24, 1, str(tmp_path), 16)
    assert "stopped after" in peers.row_of(peers_transport.COMPARISON, job, 0.05)["note"]
    small = peers.Job("tim3d", "one-phase", 24, 1, str(tmp_path), 0.01)
    assert peers.row_of(peers_transport.COMPARISON, small, 100)["note"]


def test_straight_planes_have_tortuosity_one_and_fields_compare() -> None:
    field = np.broadcast_to(np.arange(8.0)[:, None, None] * 2, (8, 3, 3)).copy()
    assert peers_geodesic.tortuosity(field, 2.0) == 1
    other = field.copy()
    other[4, 1, 1] += 0.7
    other[5, 0, 0] = np.nan
    found = peers_geodesic.differences(field, other)
    assert found["largest"] == pytest.approx(0.7 / 14)
    assert found["mean"] == pytest.approx(0.7 / 14 / 71)


@pytest.mark.slow
def test_scaling_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "figures" / "scaling.png"
    scaling_transport.main(
        ["--folder", str(tmp_path), "--edges", "20", "24", "--picture", str(picture)]
    )
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 * len(scaling_transport.SERIES)
    assert all(row.count("|") == head.count("|") for row in rows)
    assert picture.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.long
def test_two_point_probabilities_beside_those_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peers_correlation.main(["--folder", str(tmp_path), "--sizes", "24"])
    lines = capsys.readouterr().out.splitlines()
    rows = {row["tool"]: row for row in peers.rows_in(tmp_path / "correlation.jsonl")}
    assert list(rows) == list(peers_correlation.TOOLS)
    for name, tool in peers_correlation.TOOLS.items():
        row = next(n for n in lines if n.startswith(f"| 24³ | {name} |"))
        assert row.count("|") == peers_correlation.COLUMNS.count("|") + 2
        assert ("not installed" in row) != here(tool.package)
    along = np.load(tmp_path / "curve_24.npy")
    assert along[1, 0] == pytest.approx((peers.volume(tmp_path, 24) == 1).mean())
