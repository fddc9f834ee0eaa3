"""Volumes by diffusion: the files of the networks, their tiles, and a summary for the user."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tim3d.errors import ArgumentError
from tim3d.forecast import NOT_TRAINED, expected
from tim3d.grid import AXES, Box, Triple, triple
from tim3d.kernels.generation.coarse_field import CoarseField, LocalFraction
from tim3d.kernels.generation.reverse_process import ReverseProcess, Sampler
from tim3d.models.common.device import choose_device
from tim3d.models.diffusion.network_file import AXIS, LocalNetworkDescription, describe_network
from tim3d.models.diffusion.reverse_field import DiffusionField, Planes, Section, Stored
from tim3d.stages.generation.given_fraction import given_fraction
from tim3d.stages.generation.guide_options import AskedGuidance, chosen_guide

log = logging.getLogger(__name__)

# Edge of a tile: the reach of a network of 31 voxels doubles the work at 128, and makes it fourfold at 64.
TILE = 128


class Asked(AskedGuidance, Protocol):
    """Settings of a volume by diffusion; `tim3d.generators.Diffusion` has them."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files."""

    @property
    def given(self) -> Mapping[str, float | str]:
        """Conditions by name."""

    @property
    def fractions(self) -> Mapping[str, float] | None:
        """Fractions of the phases to meet."""

    @property
    def seed(self) -> int:
        """Seed of the noise."""

    @property
    def tile(self) -> int | None:
        """Edge of a tile."""

    @property
    def planes(self) -> Planes | None:
        """Rule for networks of sections; None for the usual one."""

    @property
    def sampler(self) -> Sampler | None:
        """Method of a step; None for the usual one."""

    def process(self, *, is_joint: bool) -> ReverseProcess:
        """Steps from noise to data, of planes that are taken together or not."""

    @property
    def stored(self) -> Stored:
        """Type of the states."""

    @property
    def device(self) -> str:
        """Device, or auto."""

    @property
    def coarse(self) -> float | None:
        """Factor of the standard deviation of the local fraction."""

    @property
    def coarse_sample(self) -> str | Path | None:
        """Sample with a field of local fractions."""

    @property
    def coarse_field(self) -> str | None:
        """Name of that field."""

    @property
    def periodic(self) -> bool:
        """Whether the volume is periodic."""


def diffusion_field(asked: Asked, shape: Triple) -> DiffusionField:
    """Return the networks of files for a volume of a given shape.

    Raises
    ------
    CheckpointError
        If a file is not a network of diffusion.
    ArgumentError
        If an argument does not fit the networks.
    DeviceError
        If the device is not available.
    """
    about = [_described(path) for path in asked.paths]
    _check_alike(about, asked.paths)
    first = about[0][0]
    for text in first.beyond(asked.given):
        log.warning("%s: the network was not trained there", text)
    sections = _sections(about, asked)
    device = choose_device(asked.device)
    whole = max(one.spec.multiple for one in sections)
    halo = max(one.spec.halo for one in sections)
    domain = _domain(shape, whole, halo, asked.periodic)
    share = _share(asked.fractions, first)
    planes = asked.planes or _usual_planes(asked, first)
    process = asked.process(is_joint=planes == "joint" and len(sections) > 1)
    field = DiffusionField(
        sections=sections,
        process=process,
        seed=asked.seed,
        shape=shape,
        domain=domain,
        tile=_tile(whole, domain) if asked.tile is None else asked.tile,
        planes=planes,
        stored=asked.stored,
        device=device,
        phases=first.phases,
        spacing_nm=first.spacing_nm,
        share=share,
        guide=chosen_guide(asked, process, first.phases, share, shape),
        coarse=_coarse(asked, first, domain, shape),
    )
    log.info("%s", summary(field))
    return field


def _described(path: str) -> tuple[LocalNetworkDescription, str]:
    """Description and hash of a network, which an earlier step of a recipe may have yet to train."""
    planned = expected("diffusion", path)
    return (planned, NOT_TRAINED) if planned else describe_network(path)


def _check_alike(about: list[tuple[LocalNetworkDescription, str]], paths: tuple[str, ...]) -> None:
    first = about[0][0]
    if first.spec.dimensions == 3 and len(about) > 1:
        raise ArgumentError(f"{paths[0]} is a network of volumes: give it alone")
    for (one, _), path in zip(about, paths, strict=True):
        if one.coarse != first.coarse:
            raise ArgumentError(
                f"{path} has another law of the local fraction than {paths[0]}: give one network of sections for all "
                "planes, or networks without --coarse-window"
            )
        if one.spec.objective != "flow":
            raise ArgumentError(
                f"{path} estimates noise ({one.spec.objective}), and volumes are made with velocities: train with the "
                "objective flow"
            )
        if one.phases != first.phases or one.spec.dimensions != first.spec.dimensions:
            raise ArgumentError(
                f"{path} has other phases or dimensions than {paths[0]}: three networks are of one material, of the "
                "planes normal to z, y and x"
            )


def _sections(
    about: list[tuple[LocalNetworkDescription, str]], asked: Asked
) -> tuple[Section, ...]:
    """One network of volumes, or one for each family of planes, with its conditions."""
    first = about[0][0]
    if AXIS in asked.given and first.spec.dimensions == 2:
        raise ArgumentError(
            f"the axis of a section is not a condition of a volume: leave out {AXIS}"
        )
    turned = [
        (about[n % len(about)], asked.paths[n % len(about)], axis) for n, axis in enumerate(AXES)
    ]
    if first.spec.dimensions == 3:
        turned = turned[:1]
    sections = []
    for (one, sha256), path, axis in turned:
        by_axis = {AXIS: axis} if AXIS in [c.name for c in one.conditions] else {}
        values = one.inputs({**asked.given, **by_axis})
        inputs = tuple(None if v != v else v for v in values)
        sections.append(Section(str(Path(path).absolute()), sha256, one.spec, inputs))
    return tuple(sections)


def _coarse(
    asked: Asked, about: LocalNetworkDescription, domain: Box, shape: Triple
) -> LocalFraction | None:
    """Local fraction that the networks are given: of networks of sections its slow part.

    What the short structure leaves of itself in a window of a section differs from section to section.
    """
    given = {
        "coarse": asked.coarse,
        "coarse-sample": asked.coarse_sample,
        "coarse-field": asked.coarse_field,
    }
    named = [name for name, value in given.items() if value is not None]
    if about.coarse is None:
        if named:
            raise ArgumentError(
                f"--{named[0]} is about the local fraction, and this network was trained without it: leave it out, or "
                "train with --coarse-window"
            )
        return None
    if asked.coarse_sample is None:
        if asked.coarse_field is not None:
            raise ArgumentError(
                "--coarse-field is a field of a sample: name it with --coarse-sample"
            )
        return CoarseField(
            about.coarse,
            about.spacing_nm,
            asked.seed,
            domain.shape if asked.periodic else (0, 0, 0),
            1.0 if asked.coarse is None else asked.coarse,
            "all" if about.spec.dimensions == 3 else "slow",
        )
    if asked.coarse is not None:
        raise ArgumentError(
            "--coarse is a factor of a field that is drawn, and --coarse-sample gives one: leave one of them out"
        )
    field = "raw" if asked.coarse_field is None else asked.coarse_field
    return given_fraction(
        str(asked.coarse_sample), field, about.coarse, shape, about.spacing_nm, asked.periodic
    )


def _usual_planes(asked: Asked, about: LocalNetworkDescription) -> Planes:
    """Rule of networks of sections: planes are taken together where that is possible."""
    alone = about.phases is None or about.coarse is not None
    plain = alone or asked.sampler == "heun"
    return "mean" if plain else "joint"


def _tile(whole: int, domain: Box) -> int:
    """Edge of a tile, not longer than the domain."""
    longest = max(domain.shape)
    return min(max(1, TILE // whole) * whole, -(-longest // whole) * whole)


def _domain(shape: Triple, whole: int, halo: int, periodic: bool) -> Box:
    """The volume, or more than it: opposite faces of the volume must not be neighbours."""
    if not periodic:
        stop = triple(-(-(n + halo) // whole) * whole for n in shape)
        return Box((-halo,) * 3, stop)
    if any(n % whole for n in shape):
        near = ",".join(str(max(1, round(n / whole)) * whole) for n in shape)
        raise ArgumentError(
            f"a periodic volume of this network has edges that are multiples of {whole} voxels, not {shape}; "
            f"give --shape {near}"
        )
    return Box.whole(shape)


def _share(fractions: Mapping[str, float] | None, about: LocalNetworkDescription) -> float | None:
    """Share of the first phase."""
    if fractions is None:
        return None
    names = list(about.phases or {})
    if len(names) != 2:
        raise ArgumentError(
            f"--fractions are met by a cut between two phases, and the network has {', '.join(names) or 'grey values'}"
        )
    if set(fractions) != set(names) or not all(0 < v < 1 for v in fractions.values()):
        raise ArgumentError(
            f"--fractions are of the phases {' and '.join(names)}, between 0 and 1; got "
            f"{','.join(f'{name}={value:g}' for name, value in fractions.items())}"
        )
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise ArgumentError(f"--fractions add up to 1, not {sum(fractions.values()):g}")
    return float(fractions[names[0]])


def summary(field: DiffusionField) -> str:
    """Summary for the user before a run: network, reach, passes and work."""
    spec, process = field.sections[0].spec, field.process
    window = (field.tile + 2 * field.halo_edge) / field.tile
    planes = 1 if len(field.sections) == 1 or field.planes == "alternating" else 3
    along = 3 if len(field.sections) == 1 else 2
    edges = "x".join(map(str, field.domain.shape))
    beside = f"\n{field.coarse.text()}" if field.coarse else ""
    rule = f", planes {field.planes}" if len(field.sections) > 1 else ""
    return (
        f"network of {spec.dimensions} dimensions, reach {spec.reach} voxels, cells of {spec.multiple}\n"
        f"{process.steps} steps by {process.sampler}{rule}: {field.passes} passes over {edges} voxels in "
        f"{field.stored}\n"
        f"tiles of {field.tile} voxels, {window**along:.2f} times the work of endless ones; "
        f"{planes * window**along * spec.multiplications / 1e3:.1f} thousand multiplications a voxel and pass; "
        f"on {field.device}{beside}"
    )
