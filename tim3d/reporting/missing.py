"""Numbers that a section of a report lacks, each with the command that adds it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tim3d.descriptors.builtin import BUILTIN, COUPLED
from tim3d.descriptors.porosity import PORES, pore_phases
from tim3d.phases import Phases
from tim3d.reporting.results import known_descriptors, measured
from tim3d.reporting.section import Missing, Parts
from tim3d.stages.shared.results import results_of
from tim3d.storage import advice, store

Entry = tuple[str, str]


def segmentation(parts: Parts) -> Iterator[Entry]:
    """Labels, and the fields beside which they could be shown."""
    if parts.field is None:
        yield "phases", f"tim3d segment {_sample(parts)} --method otsu --phases pore=0,solid=1"
        return
    for name, text in (
        ("truth", "comparison with the truth"),
        ("annotation", "what was learnt from"),
    ):
        if getattr(parts, name) is None and _is_field(parts.sample, name):
            yield text, _again(parts, f"--{name} {name}")


def results(parts: Parts) -> Iterator[Entry]:
    """Descriptors that were not measured, and what needs a word of the user."""
    if parts.field is None:
        return
    found, phases = measured(parts.sample, parts.field), _phases(parts)
    if found is None:
        yield "fractions, surface, curvature, connectivity", _of_field(parts, "measure")
        return
    known = known_descriptors(found)
    left = [
        name
        for name, one in BUILTIN.items()
        if name not in known and _fits(parts, one.needs_volume)
    ]
    if left:
        yield ", ".join(left), _of_field(parts, "measure", f"--descriptors {','.join(left)}")
    if not pore_phases(list(phases), parts.pore):
        yield (
            f"porosity (no phase, or several, are named {', '.join(PORES)})",
            _again(parts, f"--pore {phases.names[0]}"),
        )
    elif not list(results_of(parts.sample, "label", parts.field)):
        yield "open and closed porosity", _of_field(parts, "label")
    if not parts.density and "specific_surface" in found:
        yield (
            "surface in m² g⁻¹ (with the density in g cm⁻³ in place of 1)",
            _again(parts, f"--density {phases.names[-1]}=1"),
        )
    yield (
        "numbers of every block, as a table of regions",
        f"tim3d export {_sample(parts)} {shlex.quote(parts.field)} regions.csv --regions",
    )


def thickness(parts: Parts) -> Iterator[Entry]:
    """The distribution of the local thickness, and the fields that it needs."""
    found = measured(parts.sample, parts.field)
    if parts.field is None or (found is not None and "thickness_share" in found):
        return
    made = [
        command
        for name, command in (
            ("distance", _of_field(parts, "distance")),
            ("thickness", _thickness(parts)),
        )
        if not _is_field(parts.sample, f"{parts.field}_{name}")
    ]
    yield (
        "distribution of the local thickness",
        "; ".join([*made, _of_field(parts, "measure", "--descriptors thickness")]),
    )


def _thickness(parts: Parts) -> str:
    named = (
        "" if parts.field == "phase" else f" --distance {shlex.quote(f'{parts.field}_distance')}"
    )
    return f"tim3d thickness {_sample(parts)}{named}"


def intrusion(parts: Parts) -> Iterator[Entry]:
    """Simulated intrusion of the pores, or of the first phase."""
    if parts.field is None or list(results_of(parts.sample, "porosimetry", parts.field)):
        return
    phase = next(iter(pore_phases(list(_phases(parts)), parts.pore)), _phases(parts).names[0])
    before = (
        [] if _is_field(parts.sample, f"{parts.field}_distance") else [_of_field(parts, "distance")]
    )
    command = _of_field(parts, "porosimetry", f"--phase {shlex.quote(phase)}")
    yield "intrusion (porosimetry)", "; ".join([*before, command])


def struts(parts: Parts) -> Iterator[Entry]:
    """Struts of all phases, with what they are made from."""
    if parts.field is None or list(results_of(parts.sample, "struts", parts.field)):
        return
    skeleton, distance = f"{parts.field}_skeleton", f"{parts.field}_distance"
    before = (
        []
        if _is_field(parts.sample, skeleton)
        else [advice.making(_sample(parts), skeleton, "skeleton")]
    )
    if before and not _is_field(parts.sample, distance):
        before.insert(0, _of_field(parts, "distance"))
    yield "struts: diameters, lengths, nodes", "; ".join([*before, _of_field(parts, "struts")])


def study(parts: Parts) -> Iterator[Entry]:
    """The study of the phase fraction, for windows of an eighth, a quarter and half of the volume."""
    if parts.field is None or list(results_of(parts.sample, "study", parts.field)):
        return
    labels = store.read_field(parts.sample, parts.field)
    edge = min(n * step for n, step in zip(labels.shape, labels.spacing_nm, strict=True))
    if edge < 16 * max(labels.spacing_nm):
        return  # windows would be a voxel or two
    windows = ",".join(f"{edge / part:.10g}" for part in (8, 4, 2))
    phase = next(iter(pore_phases(list(_phases(parts)), parts.pore)), _phases(parts).names[0])
    asked = f"--quantity phase_fraction --phase {phase} --windows-nm {windows}"
    yield "representative volume, and with it a standard error", _of_field(parts, "study", asked)


def coupled(name: str) -> Missing:
    """The result of the verb of a coupled descriptor."""
    one = COUPLED[name]

    def missing(parts: Parts) -> Iterator[Entry]:
        if parts.field is None or list(results_of(parts.sample, one.verb, parts.field)):
            return
        if min(store.read_field(parts.sample, parts.field).shape) > 1:
            text = one.name.replace("_", " ")
            yield text, one.command(parts.sample, parts.field, _phases(parts))

    return missing


def _fits(parts: Parts, needs_volume: bool) -> bool:
    shape = store.read_field(parts.sample, str(parts.field)).shape
    return min(shape) > 1 or not needs_volume


def _phases(parts: Parts) -> Phases:
    return store.read_field(parts.sample, str(parts.field)).phases or Phases.none()


def _is_field(sample: str, name: str) -> bool:
    record = store.node_attributes(sample, name)
    return (record.get("kind"), record.get("status")) == ("field", "complete")


def _sample(parts: Parts) -> str:
    return shlex.quote(parts.sample)


def _of_field(parts: Parts, verb: str, options: str = "") -> str:
    named = "" if parts.field == "phase" else f"--field {shlex.quote(str(parts.field))}"
    return " ".join(filter(None, ["tim3d", verb, _sample(parts), options, named]))


def _again(parts: Parts, option: str) -> str:
    """The command of this report with one more option."""
    given = {"raw": parts.raw, "field": parts.field}
    usual = {"raw": "raw", "field": "phase"}
    named = [f"--{k} {shlex.quote(v)}" for k, v in given.items() if v and v != usual[k]]
    beside = [
        f"--{k} {shlex.quote(v)}"
        for k, v in (("truth", parts.truth), ("annotation", parts.annotation))
        if v
    ]
    model = [f"--model {shlex.quote(str(parts.model))}"] if parts.model else []
    return " ".join(
        ["tim3d report", _sample(parts), shlex.quote(parts.out), *named, *beside, *model, option]
    )
