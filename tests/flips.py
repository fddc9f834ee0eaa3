"""A finished sample with a node of every kind, what is read from it, and bytes of its files changed at random.

    python -m tests.flips 200 3

Networks are in `tests.flips_networks`, recipes in `tests.flips_recipes`.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import tim3d
from tim3d import Options
from tim3d.errors import Tim3dError
from tim3d.maintenance import commands

QUIET = Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1)
SIZE = {"z": 10.0, "y": 5.0, "x": 5.0}
CONDUCTS = {"pore": 1.0, "solid": 20.0}
Reader = Callable[[str], Any]
# What it is, the file in its folder, and its new content.
Change = tuple[str, Path, bytes]
# What a report shows: rows of tables, pictures with their captions, definitions. Its notes say what
# is left out.
_SHOWN = re.compile(r"<tr>.*?</tr>|<figure>.*?</figure>|<d[td]>.*?</d[td]>", re.DOTALL)
# Verbs that are typed again: what is done already is answered from the sample.
VERBS: dict[str, Reader] = {
    "measure": lambda sample: tim3d.measure(sample, options=QUIET),
    "label": lambda sample: tim3d.label(sample, keep=True, options=QUIET),
    "solve": lambda sample: tim3d.solve(sample, conductivity=CONDUCTS, options=QUIET),
    "geodesic": lambda sample: tim3d.geodesic(
        sample, phases=["pore"], directions=["+z"], options=QUIET
    ),
    "evaluate": lambda sample: tim3d.evaluate(sample, options=QUIET),
    "study": lambda sample: tim3d.study(
        sample, quantity="phase_fraction", phase="pore", windows=[4, 8], options=QUIET
    ),
}
READERS: dict[str, Reader] = {
    "describe": tim3d.describe,
    "validate": lambda sample: [str(fault) for fault in tim3d.validate(sample)] and "refused",
    "show": lambda sample: list(commands.show(sample)),
    "status": lambda sample: _ageless("\n".join(commands.status(sample))),
    **VERBS,
    "raw": lambda sample: tim3d.open_field(sample, "raw"),
    "phase": lambda sample: tim3d.open_field(sample, "phase"),
}
# A report is drawn, which takes as long as all other readers together.
DRAWN: dict[str, Reader] = {
    "report": lambda sample: shown(tim3d.report(sample, f"{sample}.html", truth="truth"))
}


def shown(page: Path) -> Counter[str]:
    """Every row, picture and definition of a report, and how often it is there."""
    return Counter(_SHOWN.findall(page.read_text()))


def _ageless(text: str) -> str:
    return re.sub(r"; last block .* ago|; [^;]* blocks/s", "", text)


def fields(folder: Path, shape: tuple[int, int, int] = (8, 16, 16)) -> str:
    """A sample of grey values and true labels in a folder."""
    sample = str(folder / "a.zarr")
    grey = np.random.default_rng(0).integers(0, 200, shape, np.uint8)
    for name, values, phases in (
        ("raw", grey, None),
        ("truth", (grey > 90).astype(np.uint8), PHASES),
    ):
        np.save(folder / f"{name}.npy", values)
        tim3d.ingest(
            folder / f"{name}.npy",
            sample,
            voxel_size=SIZE,
            field=name,
            phases=phases,
            options=QUIET,
        )
    return sample


def make(folder: Path) -> str:
    """The sample in a folder."""
    sample = fields(folder)
    tim3d.segment(sample, method="fixed", thresholds=[100], phases=PHASES, options=QUIET)
    for verb in VERBS.values():
        verb(sample)
    return sample


def answer(found: Any) -> Any:
    """Numbers, units and names of what a reader returned, to be compared."""
    if isinstance(found, xr.Dataset):
        return {str(name): answer(found[name]) for name in found.variables} | {
            "attributes": _plain(found.attrs)
        }
    if isinstance(found, xr.DataArray):
        coordinates = {str(name): _values(one) for name, one in found.coords.items()}
        return (found.dims, str(found.dtype), _values(found), _plain(found.attrs), coordinates)
    return found


def _values(found: xr.DataArray) -> list[str]:
    return [repr(value) for value in np.asarray(found.values).ravel().tolist()]


def _plain(attributes: Any) -> str:
    return json.dumps(dict(attributes), sort_keys=True, default=str)


def answers(sample: str, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """What each reader says: its answer, or that it refuses. Voxels are read lazily, so their errors are a codec's."""
    said = {}
    for name, reader in readers.items():
        try:
            said[name] = answer(reader(sample))
        except Tim3dError:
            said[name] = "refused"
        except Exception:
            if name not in ("raw", "phase"):
                raise
            said[name] = "refused"
    return said


def files(folder: Path) -> dict[str, list[Path]]:
    """Every file, by its kind."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".npy"):
        kinds.setdefault(_kind(str(path.relative_to(folder))), []).append(path)
    return kinds


def _kind(name: str) -> str:
    if ".runs/" in name:
        return "marker" if "/done/" in name else "run"
    parts = name.split("/")
    kind = "metadata" if name.endswith("zarr.json") else "chunk"
    return f"{kind} of {parts[1] if len(parts) > 2 else 'sample'}"


def _bit(data: bytes, rng: random.Random) -> bytes:
    return _replaced(data, rng.randrange(len(data)), lambda byte: byte ^ 1 << rng.randrange(8))


def _byte(data: bytes, rng: random.Random) -> bytes:
    return _replaced(
        data, rng.randrange(len(data)), lambda byte: (byte + rng.randrange(1, 256)) % 256
    )


def _word(pattern: bytes, others: bytes) -> Callable[[bytes, random.Random], bytes]:
    def change(data: bytes, rng: random.Random) -> bytes:
        places = [m.start() for m in re.finditer(pattern, data)]
        if not places:
            return _bit(data, rng)
        return _replaced(
            data, rng.choice(places), lambda byte: rng.choice([c for c in others if c != byte])
        )

    return change


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _replaced(data: bytes, place: int, change: Callable[[int], int]) -> bytes:
    return data[:place] + bytes([change(data[place])]) + data[place + 1 :]


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bit": _bit,
    "byte": _byte,
    "digit": _word(rb"[0-9]", b"0123456789"),
    "letter": _word(rb"[a-z]", b"abcdefghijklmnopqrstuvwxyz"),
    "cut": _cut,
}


def flips(folder: Path, count: int, seed: int, of: tuple[str, ...]) -> Iterator[Change]:
    """So many changes, spread over the kinds of files and of changes: what it is, the file, its new content."""
    rng = random.Random(seed)
    kinds = {kind: paths for kind, paths in files(folder).items() if kind.startswith(of)}
    for number in range(count):
        kind = sorted(kinds)[number % len(kinds)]
        path, change = rng.choice(kinds[kind]), rng.choice(sorted(CHANGES))
        data = path.read_bytes()
        if data:
            name = path.relative_to(folder)
            yield f"{kind}: {change} of {name}", name, CHANGES[change](data, rng)


def _same(said: Any, calm: Any) -> bool:
    """Whether an answer is the calm one, a refusal, or a part of it: `describe` leaves out what is damaged, aloud."""
    if isinstance(said, Counter) and isinstance(calm, Counter):
        return not said - calm
    if isinstance(said, dict) and set(said) < set(calm):
        return all(_is_part(said[name], calm[name]) for name in said if name != "attributes")
    return bool(said in ("refused", calm))


def _is_part(said: Any, calm: Any) -> bool:
    """Whether all numbers are numbers of the calm answer, with the same units: axes without any may be gone."""
    (_, kind, values, about, _), (_, calm_kind, calm_values, calm_about, _) = said, calm
    return kind == calm_kind and about == calm_about and not Counter(values) - Counter(calm_values)


def try_flips(
    folder: Path, count: int, seed: int, of: tuple[str, ...] = ("",), drawn_every: int = 0
) -> tuple[dict[str, int], list[str]]:
    """Change files of the kinds `of`, one at a time, and read all; every so many times a report too.

    Returns
    -------
    found : dict
        How many kinds of files were changed, how many changes some reader refused, and how many
        changed no answer.
    wrong : list of str
        Those that changed an answer in silence, or ended in a traceback.
    """
    drawn = DRAWN if drawn_every else {}
    calm = whole(folder, make, READERS | drawn)
    changes = list(flips(folder / "whole", count, seed, of))
    readers = [
        READERS | (drawn if drawn_every and number % drawn_every == 0 else {})
        for number in range(count)
    ]
    found, wrong = try_changes(folder, changes, readers, calm)
    return found | {
        "kinds of files": len({what.partition(":")[0] for what, _, _ in changes})
    }, wrong


def whole(
    folder: Path, make: Callable[[Path], str], readers: Mapping[str, Reader]
) -> dict[str, Any]:
    """Make files in a folder, keep a copy, and return what is read from them."""
    (folder / "work").mkdir()
    sample = make(folder / "work")
    shutil.copytree(folder / "work", folder / "whole")
    return answers(sample, readers)


def try_changes(
    folder: Path,
    changes: Iterable[Change],
    readers: Iterable[Mapping[str, Reader]],
    calm: Mapping[str, Any],
) -> tuple[dict[str, int], list[str]]:
    """Change files of a folder, one at a time, and let the readers of each change answer; see `try_flips`."""
    verdicts = {"refused": 0, "no answer changed": 0}
    wrong = []
    for number, ((what, path, data), asked) in enumerate(zip(changes, readers, strict=False), 1):
        shutil.rmtree(folder / "work")
        shutil.copytree(folder / "whole", folder / "work")
        (folder / "work" / path).write_bytes(data)
        verdict = judge(str(folder / "work/a.zarr"), asked, calm)
        if verdict in verdicts:
            verdicts[verdict] += 1
        else:
            wrong.append(f"{what}: {verdict}")
        print(f"{number}: {what}: {verdict}", flush=True)
    return verdicts, wrong


def judge(sample: str, readers: Mapping[str, Reader], calm: Mapping[str, Any]) -> str:
    """Whether readers refuse, say what they said when all was whole, or what is wrong."""
    try:
        said = answers(sample, readers)
    except Exception as error:  # a reader that ends in a traceback
        return f"{type(error).__name__}: {str(error)[:200]}"
    if changed := [name for name in said if not _same(said[name], calm[name])]:
        return f"{', '.join(changed)} changed"
    return "refused" if "refused" in said.values() else "no answer changed"


if __name__ == "__main__":
    import sys
    import tempfile

    counts, faults = try_flips(
        Path(tempfile.mkdtemp()), int(sys.argv[1]), int(sys.argv[2]), drawn_every=5
    )
    print(counts, *faults, sep="\n")
