"""What is typed is what is meant: a value that would be read otherwise than it was written is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tim3d.cli.parsing import convert
from tim3d.cli.readers import reader
from tim3d.errors import ArgumentError
from tim3d.spelling import suggestion
from tim3d.storage.schema import asked_shard
from tim3d.verbs import VERBS

TWICE = [
    ("ingest", "voxel_size", "z=10,y=5,z=6,x=5"),
    ("ingest", "voxel_size", "z=10,z=5"),
    ("ingest", "phases", "pore=0,pore=1"),
    ("segment", "merge", "shine=pore,shine=solid"),
    ("segment", "thresholds", "85,85.0"),
    ("solve", "conductivity", "pore=1,pore=2"),
    ("solve", "interface", "a:b=1,a:b=2"),
    ("solve", "interface", "a:b=1,b:a=2"),
    ("solve", "axis", "z,z"),
    ("measure", "descriptors", "phase_fraction,phase_fraction"),
    ("label", "phases", "pore,solid,pore"),
    ("geodesic", "phases", ["pore", "pore"]),
    ("geodesic", "directions", "+z,-z,+z"),
    ("geodesic", "seeds", "phase,phase"),
    ("generate", "fractions", "pore=0.4,pore=0.6"),
    ("generate", "sizes", "150=1,150.0=3"),
    ("study", "windows", "64,64"),
    ("study", "windows_nm", [640, 640.0]),
    ("fidelity", "lags", "1,2,1"),
    ("fidelity", "lags_nm", "10,10"),
]


@pytest.mark.parametrize(("verb", "name", "value"), TWICE)
def test_what_is_named_twice_is_refused(verb: str, name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match="twice"):
        convert(name, value, verb)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kind, "3,4,3") for kind in ("SliceNumbers", "Sizes", "VoxelLags")),
        *((kind, "2.5,1,2.50") for kind in ("Lengths", "GreyValues", "PixelScales")),
        *((kind, "x,y,x") for kind in ("Names", "Axes", "Directions", "Seeds", "Descriptors")),
        *((kind, "a=b,c=d,a=e") for kind in ("Merges", "Derivations", "Roles")),
        ("ClassWeights", "a=1,b=2,a=1"),
        *((kind, "a=1,b=2,a=1") for kind in ("ByAxis", "Fractions", "Densities", "Conductivities", "VoxelSize")),
        ("Histogram", "150=1,150.0=1"), ("ByPair", "a:b=1,b:a=1"),
    ],
)  # fmt: skip
def test_a_list_of_different_things_has_each_once(kind: str, text: str) -> None:
    """Of every type that is such a list, wherever it is typed: of a verb, or of a step."""
    one = reader(kind)
    assert one is not None
    with pytest.raises(ArgumentError, match="is given twice"):
        one.read(text)
    one.read(",".join(text.split(",")[:-1]))


UNREADABLE = [
    ("ingest", "shard", "64,512"),
    ("ingest", "shard", [64.5, 512, 512]),
    ("ingest", "block", "4,5"),
    ("ingest", "voxel_size", "10,5"),
    ("ingest", "voxel_size", "z=10=5"),
    ("ingest", "voxel_size", "z=10,5,5"),
    ("segment", "window", "512"),
    ("segment", "window", [512.5, 512]),
    ("segment", "halo", 12.5),
    ("segment", "merge", "shine_through"),
    ("segment", "probabilities", "no"),
    ("label", "phases", "pore,"),
    ("label", "keep", "false"),
    ("label", "connectivity", 6.5),
    ("solve", "tolerance", "small"),
    ("study", "windows", [64.5]),
    ("fidelity", "slices", 8.5),
    ("evaluate", "slices", "5"),
    ("evaluate", "slices", "0:200:2"),
    ("train", "seed", True),
    ("train", "epochs", "many"),
    ("measure", "time_limit", "soon"),
    ("measure", "overwrite", "yes"),
]


@pytest.mark.parametrize(("verb", "name", "value"), UNREADABLE)
def test_what_cannot_be_read_names_the_option_and_the_form(
    verb: str, name: str, value: Any
) -> None:
    with pytest.raises(
        ArgumentError, match=f"--{name.replace('_', '-')} .* cannot be read: write "
    ) as caught:
        convert(name, value, verb)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["5:5", "200:0", "7:2"])
def test_a_range_without_anything_in_it_is_refused(value: str) -> None:
    for verb, name in (("evaluate", "slices"), ("describe", "z")):
        with pytest.raises(ArgumentError, match="empty"):
            convert(name, value, verb)


GOOD: list[tuple[str, str, Any, Any]] = [
    ("ingest", "shard", "64, 512,512", (64, 512, 512)),
    ("ingest", "voxel_size", " z = 10 , y=5,x=5", {"z": 10.0, "y": 5.0, "x": 5.0}),
    ("train", "decoder_channels", "32,32,16", (32, 32, 16)),
    ("generate", "orientation", "1,1,1", [1.0, 1.0, 1.0]),
    ("solve", "contact", "1e7,1e7", [1e7, 1e7]),
    ("solve", "axis", "z,x", ["z", "x"]),
    ("evaluate", "slices", "-10:", slice(-10, None)),
    ("train", "epochs", 12.0, 12),
    ("solve", "tolerance", 1, 1.0),
]


@pytest.mark.parametrize(("verb", "name", "value", "read"), GOOD)
def test_what_is_meant(verb: str, name: str, value: Any, read: Any) -> None:
    assert convert(name, value, verb) == read


@pytest.mark.parametrize(
    "shard", [(64, 200, 200), (100, 64, 64), (65, 64, 64), (0, 64, 64), (64, -64, 64)]
)
def test_a_shard_is_never_rounded(shard: tuple[int, int, int]) -> None:
    with pytest.raises(ArgumentError, match="Use --shard") as caught:
        asked_shard((500, 500, 500), shard)
    named = tuple(int(edge) for edge in str(caught.value).rpartition(" ")[2].split(","))
    assert asked_shard((500, 500, 500), named)[0] == named  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shard", [(64, 512, 512), (1, 64, 128), (30, 7, 64), (500, 500, 500), (64, 501, 1000)]
)
def test_a_shard_of_whole_chunks_or_of_a_whole_axis_is_taken(shard: tuple[int, int, int]) -> None:
    edges, chunk = asked_shard((500, 500, 500), shard)
    assert all(e >= min(w, 500) for e, w in zip(edges, shard, strict=True))
    assert all(e % c == 0 for e, c in zip(edges, chunk, strict=True))


@pytest.mark.parametrize(
    ("typed", "known", "says"),
    [
        ("segmnt", VERBS, "did you mean 'segment'?"),
        ("meassure", VERBS, "did you mean 'measure'?"),
        ("predict", VERBS, "here it is 'segment'"),
        ("permeability", VERBS, "OpenPNM"),
        ("porosity", ["phase_fraction"], "here it is 'phase_fraction'"),
        ("Porosity", ["phase_fraction"], "here it is 'phase_fraction'"),
        ("pore-size-distribution", ["phase_fraction"], "tim3d thickness"),
        ("xyz", VERBS, ""),
    ],
)
def test_what_may_have_been_meant(typed: str, known: list[str], says: str) -> None:
    found = suggestion(typed, known)
    assert says in found
    assert bool(found) == bool(says)
