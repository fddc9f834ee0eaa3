"""Sections of a report on transport through a volume: flux, shortest paths, components.

Variables of known dimensions have a table of their own; all others of the node follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tim3d.commands import renewal
from tim3d.descriptors.coupled import conditions
from tim3d.descriptors.uncertainty import uncertainty_of
from tim3d.errors import Tim3dError
from tim3d.lazy import xarray as xr
from tim3d.plotting import transport as transport_figures
from tim3d.reporting import missing, page, results, table
from tim3d.reporting.particle_shares import worst_tables
from tim3d.reporting.section import Nodes, Parts, Section
from tim3d.stages.shared.results import results_of
from tim3d.stages.shared.stored_results import attributed
from tim3d.storage import store
from tim3d.storage.schema import AXES, UNIT

# Below this number of voxels per feature the voxel size is the largest error of a tortuosity
# (docs/descriptors.md).
FEWEST_VOXELS = 8.0
MOST_PICTURES = 6
ESTIMATE = ("_coarse", "_limit", "_limit_uncertainty")
BOUNDS = {"wiener": "Wiener bounds", "hashin_shtrikman": "Hashin-Shtrikman bounds"}
_BOUND = tuple(f"conductivity_{kind}_" for kind in BOUNDS)
_SUMMARY = ("_mean", "_spread")


def _solution_of(parts: Parts, node: str) -> Iterator[str]:
    """Tables of a solution along each axis, with its bounds, and at vanishing voxel size."""
    sample = parts.sample
    found = attributed(sample, node)
    yield _axis_table(found)
    yield page.note(conditions(found.attrs))
    if {"conductivity_wiener_upper", "effective_conductivity"} <= set(found.data_vars):
        text = "Effective conductivity along each axis between the bounds that volume fractions alone set."
        yield page.picture(transport_figures.conductivity_bounds(found), text)
    yield richardson_table(found) or page.note(_how_to_extrapolate(sample, node))
    yield _coarse_voxels(sample, str(parts.field))
    yield _tensor_table(found)
    yield _others(found.drop_vars([n for n, v in found.data_vars.items() if _is_shown(str(n), v)]))
    yield _bottleneck_table(found)
    yield from worst_tables(store.open_dataset(sample, node))
    for kind, label in (
        ("potential", "potential"),
        ("flux", "size of the flux density over its mean"),
        (
            "sensitivity",
            "derivative of the effective conductivity by that of a voxel, times the number of voxels",
        ),
    ):
        yield from _pictures(
            sample, _kept_of(sample, node, {"kind": kind}, {"axis": "axes"}), label
        )


def _ways_of(parts: Parts, node: str) -> Iterator[str]:
    """Tables of shortest paths in each direction, or from seeds."""
    sample = parts.sample
    found = attributed(sample, node)
    if "direction" not in found.dims:
        yield _others(found)
        yield page.note(conditions(found.attrs))
        return
    yield from (_direction_table(found, phase) for phase in found["phase"].values.tolist())
    yield _others(
        found[
            [
                n
                for n, v in found.data_vars.items()
                if v.dims == ("phase",) and not _is_summary(str(n))
            ]
        ]
    )
    yield page.note(conditions({"metric": "not recorded"} | found.attrs))
    if transport_figures.has_profiles(found):
        text = (
            "Geodesic tortuosity of every plane by its distance from the inlet: mean distance of its reached voxels "
            "over the straight one. Shaded: the last 25 % of the planes, whose mean is the geodesic tortuosity."
        )
        yield page.picture(transport_figures.geodesic_profiles(found), text)
    yield richardson_table(found)
    yield _coarse_voxels(sample, str(parts.field))
    kept = _kept_of(sample, node, {}, {"phase": "phases", "direction": "directions"})
    yield from _pictures(sample, kept, f"geodesic distance ({UNIT})")


def _components_of(parts: Parts, node: str) -> Iterator[str]:
    """Tables of connected components by phase and axis."""
    sample = parts.sample
    found = attributed(sample, node)
    shares = [f"{kind}_fraction" for kind in ("percolating", "dead_end", "isolated")]
    body = [
        [str(phase), str(axis), *(_value(n, found[n].sel(phase=phase, axis=axis)) for n in shares)]
        for phase in found["phase"].values
        for axis in found["axis"].values
    ]
    text = (
        "Share of the voxels of each phase (unit 1) in components that touch both outer faces of an axis "
        "(percolating), one (dead end), or none (isolated); "
        f"connectivity {found.attrs.get('connectivity', 'not recorded')}."
    )
    yield page.table(["phase", "axis", "percolating", "dead end", "isolated"], body, 2, text)
    yield _others(found[[n for n, v in found.data_vars.items() if v.dims == ("phase",)]])


def _kept_of(sample: str, node: str, of: Mapping[str, Any], one_of: Mapping[str, str]) -> list[str]:
    """Current fields kept with a result: same verb, same input fields, same parameters.

    For each item of `one_of`, the parameter of the field named by the key is among the parameter of
    the result named by the value.
    """
    mine = store.node_attributes(sample, node)
    return [
        name
        for name in store.nodes(sample)
        if _belongs(store.node_attributes(sample, name), mine, of, one_of)
    ]


def _belongs(
    record: Mapping[str, Any],
    mine: Mapping[str, Any],
    of: Mapping[str, Any],
    one_of: Mapping[str, str],
) -> bool:
    about = (record.get("kind"), record.get("status"), record.get("verb"), record.get("inputs"))
    if about != ("field", "complete", mine["verb"], mine["inputs"]):
        return False
    its, asked = record["parameters"], mine["parameters"]
    shared = (set(its) & set(asked)) - {*of, *one_of}
    return (
        all(its.get(key) == value for key, value in of.items())
        and all(its[key] == asked[key] for key in shared)
        and all(its.get(key) in asked[value] for key, value in one_of.items())
    )


def _value(name: str, value: Any) -> str:
    """A number as HTML: flags in words, counts with all digits, infinity as a symbol."""
    number = float(value)
    if math.isnan(number):
        return "–"
    if name in table.FLAGS:
        return "yes" if number else "no"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    return f"{int(number):,}" if name in table.COUNTS else page.number(table.number(number))


def _is_estimate(name: str) -> bool:
    return name.endswith(ESTIMATE)


def _is_summary(name: str) -> bool:
    return name.endswith(_SUMMARY)


def _is_shown(name: str, variable: xr.DataArray) -> bool:
    """Whether a variable is shown in a table of flux, or is a profile."""
    is_profile = any(
        str(dim).endswith(("_face", "_class")) or str(dim) in AXES for dim in variable.dims
    )
    return (
        variable.dims == ("axis",)
        or name.startswith((*_BOUND, "bottleneck_"))
        or is_profile
        or _is_tensor(variable)
    )


def _bottleneck_table(found: xr.Dataset) -> str:
    """Table of the worst bottlenecks along each axis; empty without them."""
    if "bottleneck_share" not in found:
        return ""
    body = [
        [
            str(axis),
            str(number),
            *(
                page.number(table.number(float(p) / 1000))
                for p in found.bottleneck_position.sel(place)
            ),
            page.number(table.number(float(share))),
        ]
        for axis in found["axis"].values
        for number in found["bottleneck"].values
        for place in [{"axis": axis, "bottleneck": number}]
        if math.isfinite(share := found.bottleneck_share.sel(place))
    ]
    text = (
        "The worst bottlenecks: cubes of 8 voxels' edge with the largest share of what is dissipated, none beside "
        "another, and the voxel with the largest in each."
    )
    header = ["flux along", "", "z, µm", "y, µm", "x, µm", "share of the dissipation"]
    return page.table(header, body, 2, text)


def _is_tensor(variable: xr.DataArray) -> bool:
    """Whether a variable has a row and a column for each axis."""
    return (
        len(variable.dims) == 2
        and variable.dims[0] == "axis"
        and variable.dims[1] in ("flux_axis", "axis_of_flux")
    )


def _axis_table(found: xr.Dataset) -> str:
    """Table of quantities (rows) by axis (columns), with their bounds."""
    axes = [str(a) for a in found["axis"].values]
    kinds = [kind for kind in BOUNDS if f"conductivity_{kind}_upper" in found]
    body = [
        [
            page.code(str(name)),
            page.units(str(v.attrs.get("units", ""))),
            *(_with_error(found, str(name), axis=a) for a in axes),
            *(_bounds(found, str(name), kind) for kind in kinds),
        ]
        for name, v in found.data_vars.items()
        if v.dims == ("axis",) and not _is_estimate(str(name)) and not str(name).startswith(_BOUND)
    ]
    header = ["variable", "unit", *axes, *(BOUNDS[kind] for kind in kinds)]
    text = (
        "Flux along each axis. Bounds of the tortuosity factor follow from the bounds of the conductivity. "
        "flux_spread is the certificate: (max − min) / mean of the flux over all planes."
        f"{_kinds(found)}"
    )
    return page.table(header, body, 2, text)


def _with_error(found: xr.Dataset, name: str, **place: str) -> str:
    """A number with its uncertainty, if one is known and the number is finite."""
    value, known = found[name].sel(place), uncertainty_of(name, found)
    error = math.nan if known is None else float(known.values.sel(place))
    shown = _value(name, value)
    if not (math.isfinite(error) and math.isfinite(float(value))):
        return shown
    return Markup("{} ± {}").format(shown, page.number(f"{error:#.2g}".removesuffix(".")))


def _kinds(found: xr.Dataset) -> str:
    """Sentence on the kinds of uncertainty in a table of some axes."""
    known = {str(n): uncertainty_of(str(n), found) for n in found.data_vars}
    kinds = dict.fromkeys(
        one.kind for name, one in known.items() if one is not None and not _is_estimate(name)
    )
    return f" Behind ± stands the error of the {' or of the '.join(kinds)}." if kinds else ""


def _bounds(found: xr.Dataset, name: str, kind: str) -> str:
    """Lower and upper bound of a quantity: one pair, or one for each axis where they differ."""
    if (
        name not in ("effective_conductivity", "tortuosity_factor_total")
        or "mean_conductivity_total" not in found
    ):
        return ""
    by_axis = {str(a): _pair(found.sel(axis=a), name, kind) for a in found["axis"].values}
    if len(set(by_axis.values())) == 1:
        return next(iter(by_axis.values()))
    return Markup("<br>").join(
        Markup("{}: {}").format(axis, pair) for axis, pair in by_axis.items()
    )


def _pair(one: xr.Dataset, name: str, kind: str) -> str:
    """Bounds along one axis; the lowest tortuosity factor is at the highest conductivity."""
    low, high = (one.get(f"conductivity_{kind}_{side}") for side in ("lower", "upper"))
    if name == "effective_conductivity":
        return _from_to(name, low, high)
    mean = float(one["mean_conductivity_total"])
    least, most = (
        None if k is None else mean / float(k) if k > 0 else math.inf for k in (high, low)
    )
    return _from_to(name, least, most)


def _from_to(name: str, low: Any, high: Any) -> str:
    """A range as text; with resisting interfaces the conductivity has an upper bound only."""
    if low is None:
        return Markup("at most {}").format(_value(name, high))
    if high is None:
        return Markup("at least {}").format(_value(name, low))
    return Markup("{} to {}").format(_value(name, low), _value(name, high))


def richardson_table(found: xr.Dataset) -> str:
    """Table of values at voxel size h, 2 h and 0 with its uncertainty; empty without them.

    Parameters
    ----------
    found : Dataset
        With ``NAME``, ``NAME_coarse``, ``NAME_limit`` and ``NAME_limit_uncertainty`` of some
        quantities.
    """
    names = [str(n) for n in found.data_vars if all(f"{n}{end}" in found for end in ESTIMATE)]
    body = [row for name in names for row in _estimates(found, name)]
    header = ["variable", "of", "unit", "voxel size h", "2 h", "limit at h → 0"]
    text = (
        "Known error of the voxel size: solved again on every second voxel and extrapolated "
        "(Richardson, first order)."
    )
    return page.table(header, body, 3, text) if body else ""


def _estimates(found: xr.Dataset, name: str) -> Iterator[list[str]]:
    for index in np.ndindex(found[name].shape):
        h, coarse, limit, half = (
            float(found[f"{name}{end}"].values[index]) for end in ("", *ESTIMATE)
        )
        places = [str(found[dim].values[i]) for dim, i in zip(found[name].dims, index, strict=True)]
        yield [
            page.code(name),
            " ".join(places),
            page.units(str(found[name].attrs.get("units", ""))),
            _value(name, h),
            _value(name, coarse),
            Markup("{} ± {}").format(
                _value(name, limit), page.number(f"{half:#.2g}".removesuffix("."))
            ),
        ]


def _how_to_extrapolate(sample: str, node: str) -> str:
    command = renewal(store.node_attributes(sample, node), sample)
    return f"The error of the voxel size was not estimated. To have it: {command} --richardson"


def _coarse_voxels(sample: str, field: str) -> str:
    """A warning if the mean chords of a phase are known to be few voxels long."""
    chords = {name: n for name, n in feature_voxels(sample, field).items() if n < FEWEST_VOXELS}
    if not chords:
        return ""
    listed = ", ".join(f"{name} {n:.1f}" for name, n in chords.items())
    return page.note(
        f"Warning: fewer than {FEWEST_VOXELS:g} voxels per feature ({listed}: mean chord 4 × fraction / specific "
        "surface, over the longest edge of a voxel). The voxel size is then the largest error of these numbers: "
        "believe the limit at h → 0 where it is given, or image with smaller voxels."
    )


def feature_voxels(sample: str, field: str) -> Mapping[str, float]:
    """Mean chord of each phase in voxels (longest edge), if fraction and surface were measured.

    The mean chord of a phase is 4 times its fraction over its specific surface
    (doi:10.1002/9783527628308).
    """
    found = results.measured(sample, field)
    if found is None or "specific_surface" not in found:
        return {}
    if "phase_fraction" not in found:
        return {}
    edge = max(store.read_field(sample, field).spacing_nm)
    pairs = zip(found["phase_fraction"].values, found["specific_surface"].values, strict=True)
    chords = [4 * share / surface / edge if surface > 0 else math.inf for share, surface in pairs]
    return dict(zip(map(str, found["phase"].values), chords, strict=True))


def _tensor_table(found: xr.Dataset) -> str:
    return Markup().join(_matrix(str(n), v) for n, v in found.data_vars.items() if _is_tensor(v))


def _matrix(name: str, values: xr.DataArray) -> str:
    columns = [str(a) for a in values[values.dims[1]].values]
    body = [
        [str(axis), *(_value(name, v) for v in row)]
        for axis, row in zip(values["axis"].values, values.values, strict=True)
    ]
    text = f"{name} ({values.attrs.get('units', '1')}): {values.attrs.get('long_name', '')}"
    return page.table(["axis", *columns], body, 1, text)


def _others(found: xr.Dataset) -> str:
    """Table of the numbers without a table of their own, by phase (columns)."""
    lines = table.lines(table.rows({"": found}))
    return results.line_table(lines, table.units_of(lines))


def _direction_table(found: xr.Dataset, phase: str) -> str:
    one = found.sel(phase=phase)
    names = [
        str(n)
        for n, v in one.data_vars.items()
        if v.dims == ("direction",) and not _is_estimate(str(n))
    ]
    directions = [str(d) for d in one["direction"].values]
    body = [
        [
            page.code(name),
            page.units(str(one[name].attrs.get("units", "1"))),
            *(_value(name, one[name].sel(direction=d)) for d in directions),
            _mean_and_spread(one, name),
        ]
        for name in names
    ]
    text = (
        f"Shortest paths through “{phase}” in each direction; voxels that no path reaches are counted, not averaged. "
        f"Spread: {_spread_text(one)}."
    )
    return page.table(["variable", "unit", *directions, "mean (spread)"], body, 2, text)


def _mean_and_spread(one: xr.Dataset, name: str) -> str:
    if not all(f"{name}{end}" in one for end in _SUMMARY):
        return ""
    mean, spread = (_value(name, one[f"{name}{end}"]) for end in _SUMMARY)
    return Markup("{} ({})").format(mean, spread)


def _spread_text(one: xr.Dataset) -> str:
    spread = one.get("geodesic_tortuosity_spread")
    return (
        "not recorded"
        if spread is None
        else str(spread.attrs.get("long_name", "of the directions"))
    )


def _pictures(sample: str, kept: Sequence[str], label: str) -> Iterator[str]:
    """Figures of the middle planes of a result's kept fields; the first ones if there are many."""
    names = sorted(
        kept, key=lambda n: _along(sample, n), reverse=True
    )  # z before y and x, every phase of a direction
    for name in names[:MOST_PICTURES]:
        text = (
            f"{name}: the middle planes. Voxels in grey do not conduct, or no path leads to them; the colours end at "
            "the 99.5\u00a0% quantile of what is shown."
        )
        try:
            yield page.picture(transport_figures.field_slices(sample, name, label), text)
        except Tim3dError as error:
            yield page.note(f"No picture of {name}: {error}")
    if more := names[MOST_PICTURES:]:
        yield page.note(f"Not shown: {', '.join(more)}.")


def _along(sample: str, name: str) -> list[str]:
    """Axis and direction of a kept field."""
    parameters = store.node_attributes(sample, name)["parameters"]
    return [str(parameters.get("axis", parameters.get("direction", "")))[::-1]]


def _results_of(verb: str) -> Nodes:
    return lambda parts: results_of(parts.sample, verb, parts.field) if parts.field else ()


FLUX = Section(
    "Transport",
    nodes=_results_of("solve"),
    html=_solution_of,
    named=True,
    missing=missing.coupled("effective_conductivity"),
)
GEODESIC = Section(
    "Geodesic",
    nodes=_results_of("geodesic"),
    html=_ways_of,
    named=True,
    missing=missing.coupled("geodesic_tortuosity"),
)
CONNECTIVITY = Section(
    "Connectivity",
    nodes=_results_of("label"),
    html=_components_of,
    named=True,
    missing=missing.coupled("percolation"),
)
