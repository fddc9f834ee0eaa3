"""The verb `library`: a folder of generators that are listed, added, trained, judged and shown."""

from __future__ import annotations

import csv as csv_files
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tim3d.cataloguing.entries import (
    RECORD,
    TRAINING,
    WEIGHTS,
    Addition,
    Entry,
    check_library,
    entries,
    read_entry,
    refuse_empty,
)
from tim3d.cataloguing.judging import Judging, comparison_of, current_judgement
from tim3d.cataloguing.listed import Listed, read_list
from tim3d.cataloguing.rows import dataset
from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.forecast import will_exist
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.generation.train_generator import train_generator
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.stages.shared.wide_table import cell, head
from tim3d.storage import outputs
from tim3d.typed import Folder, Images, Minutes, PixelSize
from tim3d.verbs import option_of

log = logging.getLogger(__name__)
TABLE = outputs.Kind("a table of a library", lambda data: data.startswith(b"generator,micrograph,"))


@Verb
def library(
    folder: Folder,
    *,
    add: str | Path | None = None,
    micrograph: Images | None = None,
    phases: Phases | None = None,
    pixel_size: PixelSize | None = None,
    scale: int | None = None,
    licence: str = "",
    origin: str = "",
    entry: str | None = None,
    train: str | Path | None = None,
    preset: str = "demo",
    steps: int = 800,
    minutes: Minutes | None = None,
    evaluate: bool = False,
    volumes: int = 4,
    edge: int = 128,
    seed: int = 0,
    device: str = "auto",
    page: str | Path | None = None,
    csv: str | Path | None = None,
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """List a folder of generators, and before that add one, train some, judge all, and write the page.

    A generator is kept with its micrograph and the licence of that. It is judged by volumes of other
    noise than that of its training, compared with its micrograph as `fidelity` does. All that is done
    is kept: a call that was killed is made again and goes on. See docs/library.md.

    Parameters
    ----------
    folder : path
        Folder of the library, which the first addition makes.
    add : path, optional
        Generator to add, a file of train-generator or import-generator (default: none).
    micrograph : path or three paths, optional
        Image of the generator to add, or three for the slices across z, across y and across x
        (needed to add).
    phases : Phases, optional
        Value of each phase in that image (needed to add a generator of phases).
    pixel_size : float or (rows, columns), optional
        Pixels of that image in nm, before the scaling (default: as its metadata say). Not needed if
        the generator was trained on the same file.
    scale : int, optional
        Pixels of that image along the edge of a voxel (default: as in its training, otherwise 1).
    licence : str
        Terms under which that image may be passed on (needed to add).
    origin : str
        Where that image comes from (default: nothing is recorded).
    entry : str, optional
        Name of the addition (default: that of its first image).
    train : path, optional
        CSV table of micrographs, a generator for each: columns file, phases, pixel_size, licence, and
        if wanted scale, origin, name (default: none).
    preset : str
        Size of the networks to train. See `tim3d.kernels.generation.architecture.PRESETS`.
    steps : int
        Steps of each training. With more of them a finished training goes on.
    minutes : float, optional
        Time after which each training ends even if steps are left (default: none).
    evaluate : bool
        Judge every generator of the library.
    volumes : int
        Volumes of a judgement, each of a seed of its own.
    edge : int
        Edge of these volumes in voxels.
    seed : int
        Seed of the first of these volumes, and of the trainings.
    device : str
        Device of trainings and volumes: auto, cpu, cuda or cuda:1.
    page : path, optional
        HTML file: a row and a section for each generator (default: none).
    csv : path, optional
        CSV file with a row for each generator (default: none).
    options : Options
        How it runs. Overwriting adds, trains and judges again.

    Returns
    -------
    xarray.Dataset
        Variables over ``generator``: origin, licence, phases, deviations from the micrograph, 3-D
        values, each with unit and meaning.

    Raises
    ------
    ArgumentError
        If an argument is out of range or has no use, a licence is missing, phases or pixel sizes do
        not fit, or the folder or a file must not be written.
    InputError
        If there is no library, one that is to be judged or written has no generators, an image, a
        table or a record cannot be used, or a generator cannot be judged; the others are judged,
        and page and table written, before that.
    CheckpointError
        If a generator cannot be read.
    MixedRunError
        If an addition has the name of another one.
    MemoryPlanError
        If a volume or a training does not fit into memory.

    References
    ----------
    Kench et al., Sci. Data 9 (2022) 645 (MicroLib). DOI 10.1038/s41597-022-01744-1
    """
    _check_counts(volumes=volumes, edge=edge, steps=steps)
    if seed < 0:
        raise ArgumentError(f"--seed is {seed}; it must be 0 or more")
    targets = Targets(_target(page, outputs.REPORT), _target(csv, TABLE))
    about = {
        "micrograph": micrograph, "phases": phases, "pixel_size": pixel_size, "scale": scale, "entry": entry,
        "licence": licence, "origin": origin,
    }  # fmt: skip
    added = _addition(Path(folder), add, about)
    place = check_library(folder, new=bool(add or train))
    files = [*(added.files if added else ()), *([train] if train else ())]
    if awaited := next((str(p) for p in files if will_exist(str(p)) and not Path(p).exists()), ""):
        return Task(partial(cannot_plan, "library", awaited), lambda: dataset(place))
    if (evaluate or page or csv) and not (add or train or will_exist(str(place))):
        refuse_empty(place)
    training = {
        "preset": preset,
        "steps": steps,
        "minutes": minutes,
        "seed": seed,
        "device": device,
    }
    judged = {"volumes": volumes, "edge": edge, "seed": seed, "device": device}
    work = Work(
        place,
        added,
        read_list(train) if train else [],
        training,
        judged if evaluate else None,
        targets,
        options,
    )
    return Task(work.plans, work.run)


def _check_counts(**given: int) -> None:
    for name, value in given.items():
        if value < 1:
            raise ArgumentError(f"--{name} is {value}; it must be 1 or more")


def _target(path: str | Path | None, kind: outputs.Kind) -> Path | None:
    if path is None:
        return None
    target = outputs.check_target(path, kind)
    if kind is outputs.REPORT and target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(
            f"a page is HTML, and {path} has another ending: --page {target.with_suffix('.html')}"
        )
    return target


def _addition(place: Path, add: str | Path | None, about: Mapping[str, Any]) -> Addition | None:
    """The generator to add; refuse what describes one where none is given."""
    if add is None:
        if given := [key for key, value in about.items() if value not in (None, "")]:
            option = option_of(given[0])
            raise ArgumentError(
                f"{option} describes a generator to add: --add gen.safetensors {option} ..."
            )
        return None
    images = about["micrograph"]
    if not images:
        raise ArgumentError(f"{add} needs its micrograph: --add {add} --micrograph image.tif")
    paths = tuple(map(Path, [images] if isinstance(images, str | Path) else images))
    return Addition(
        place, about["entry"] or paths[0].stem, Path(add), paths, about["phases"], about["scale"],
        about["pixel_size"], about["licence"], about["origin"],
    )  # fmt: skip


@dataclass(frozen=True)
class Targets:
    """Files to write about the library."""

    page: Path | None
    csv: Path | None

    def plans(self) -> list[Outline]:
        """A line for each file."""
        return [Outline("library", f"writes {path}") for path in (self.page, self.csv) if path]

    def write(self, found: xr.Dataset, place: Path) -> None:
        """Write the page, with the comparisons that the library has there, and the table."""
        if self.csv:
            outputs.write_file(self.csv, csv_text(found).encode(), TABLE)
        if self.page:
            from tim3d.reporting.library import library_page  # matplotlib takes a while to load

            text = library_page(found, dict(_comparisons(place)))
            outputs.write_file(self.page, text.encode(), outputs.REPORT)
        for path in filter(None, (self.page, self.csv)):
            log.info("wrote %s", path)


@dataclass(frozen=True)
class Work:
    """Work left in a library: an addition, trainings, judgements, files."""

    place: Path
    added: Addition | None
    listed: Sequence[Listed]
    training: Mapping[str, Any]
    judged: Mapping[str, Any] | None
    targets: Targets
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """Plans of what is left; a line if the library is only listed."""
        if not (self.added or self.listed or self.judged or self.targets.plans()):
            return [Outline("library", f"lists {len(entries(self.place))} generators")]
        return [
            *self._additions(),
            *(plan for one in self.listed for plan in self._plans_of(one)),
            *self._judgements(),
            *self.targets.plans(),
        ]

    def run(self) -> xr.Dataset:
        """Add, train, judge, and write the files."""
        if self.added and not self.added.is_done(overwrite=self.options.overwrite):
            outputs.make_folder(self.place)
            self.added.put()
        for one in self.listed:
            self._refuse_foreign(one)
            self._trainings(one).run()
            grown = self._grown(one)
            if self.options.overwrite or not _is_in(grown):
                grown.put()
        refused = list(self._judge())
        found = dataset(self.place)
        self.targets.write(found, self.place)
        if refused:
            raise InputError("; ".join(refused))
        return found

    def _judge(self) -> Iterator[str]:
        """Judge every generator; a line for each that cannot be judged, which does not stop the others."""
        for entry in entries(self.place) if self.judged else []:
            judging = self._judging(entry)
            try:
                if not judging.is_done():
                    log.info("%s: %d volumes", entry.name, judging.volumes)
                    judging.run()
            except InputError as error:
                yield f"{entry.name} cannot be judged: {error}"

    def _additions(self) -> list[Outline]:
        if not self.added or self.added.is_done(overwrite=self.options.overwrite):
            return []
        return [Outline("library", f"adds {self.added.name} to {self.place}")]

    def _plans_of(self, one: Listed) -> list[Plan | Outline]:
        self._refuse_foreign(one)
        training = list(self._trainings(one).plans())
        if training or not _is_in(self._grown(one)):
            training.append(Outline("library", f"adds {one.name} to {self.place}"))
        return training

    def _judgements(self) -> Iterator[Plan | Outline]:
        if self.judged is None:
            return
        known = entries(self.place)
        for entry in known:
            try:
                yield from self._judging(entry).plans()
            except InputError as error:
                yield Outline("library", f"cannot judge {entry.name}: {error}")
        coming = [one.name for one in self.listed] + ([self.added.name] if self.added else [])
        for name in dict.fromkeys(coming):
            if name not in [entry.name for entry in known]:
                yield Outline("library", f"judges {name} when it is there")

    def _judging(self, entry: Entry) -> Judging:
        return Judging(entry, options=self.options, **(self.judged or {}))

    def _trainings(self, one: Listed) -> Task[Path]:
        images = one.images if len(one.images) > 1 else one.images[0]
        try:
            return train_generator.task(
                images, self._trained(one).parent, phases=one.phases, pixel_size=one.pixel_size, scale=one.scale,
                overwrite=self.options.overwrite, progress=self.options.progress, **self.training,
            )  # fmt: skip
        except (ArgumentError, InputError):
            one.check_images()
            raise

    def _trained(self, one: Listed) -> Path:
        return self.place / one.name / TRAINING / WEIGHTS

    def _grown(self, one: Listed) -> Addition:
        return Addition(
            self.place, one.name, self._trained(one), one.images, one.phases, one.scale, one.pixel_size, one.licence,
            one.origin,
        )  # fmt: skip

    def _refuse_foreign(self, one: Listed) -> None:
        """Refuse to train in the place of a generator that was added."""
        folder = self.place / one.name
        if (folder / RECORD).is_file() and not (folder / TRAINING).is_dir():
            raise MixedRunError(
                f"{folder} holds a generator that was added and not trained here: give the row of the table another "
                "name in a column 'name'"
            )


def _is_in(addition: Addition) -> bool:
    """Whether the library holds just this: a training that went on is another generator of the same name."""
    folder = addition.library / addition.name
    if not addition.weights.is_file() or not (folder / RECORD).is_file():
        return False
    entry = read_entry(folder)
    return entry == addition.entry() and not entry.fault


def _comparisons(place: Path) -> Iterator[tuple[str, xr.Dataset]]:
    """Comparison of every generator whose judgement is of what is there now, unless it is gone."""
    for entry in entries(place):
        found = current_judgement(entry)
        if found is not None:
            with suppress(InputError):  # its state says why
                yield entry.name, comparison_of(entry, found)


def csv_text(found: xr.Dataset) -> str:
    """A row for each generator, units in brackets behind the names; nan is left empty."""
    text = io.StringIO(newline="")
    writer = csv_files.writer(text)
    writer.writerow(["generator", *(head(str(n), v) for n, v in found.data_vars.items())])
    columns = [[cell(v) for v in one.values.tolist()] for one in found.data_vars.values()]
    writer.writerows(zip(found["generator"].values.tolist(), *columns, strict=True))
    return text.getvalue()
