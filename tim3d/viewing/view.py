"""The verb `view`: a sample in a browser of this machine."""

from __future__ import annotations

import importlib.util
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, MissingExtraError
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.typed import Nodes
from tim3d.viewing.layers import SURFACE_VOXELS, Layer, layers

if TYPE_CHECKING:
    from tim3d.viewing.page import Page

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class View:
    """A sample that is being served to a browser, until it is closed or the process ends.

    Attributes
    ----------
    page : Page
        The page; neuroglancer's own functions change its state.
    """

    page: Page

    @property
    def url(self) -> str:
        """Address of the page, on this machine only."""
        return self.page.url

    def close(self) -> None:
        """End the server."""
        self.page.close()

    def wait(self) -> None:
        """Serve until Ctrl-C is pressed."""
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self.close()

    def __enter__(self) -> View:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return f"{self.url}\nopen on this machine only; Ctrl-C ends it"


@Verb
def view(
    sample: str,
    fields: Nodes = (),
    *,
    port: int = 0,
    no_browser: bool = False,
) -> Task[View]:
    """Show a sample in a browser of this machine: grey values, phases and their surfaces, distances.

    The page is neuroglancer, from its Python package: no network is needed, and only this machine
    is answered, under an address that holds a random token. Chunks are read when they are looked
    at, from the level of the pyramid that suits; nothing is written.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    fields : list of str
        Fields to show (default: all that are finished).
    port : int
        Port of the page; 0 takes a free one.
    no_browser : bool
        Only print the address; open no browser.

    Returns
    -------
    View
        The page that is served, with its `url`; `close` ends it. In the shell, Ctrl-C does.

    Raises
    ------
    InputError
        If the sample does not exist.
    MissingFieldError
        If it has no such field, or none that is finished.
    MixedRunError
        If a named field was made from one that was replaced since.
    ArgumentError
        If the port is in use or out of range.
    MissingExtraError
        If neuroglancer is not installed.
    """
    if not 0 <= port <= HIGHEST_PORT:
        raise ArgumentError(f"port {port}: give 0, for any that is free, to {HIGHEST_PORT}")
    if not store.is_sample(sample) and not store.nodes(sample):
        store.open_sample(sample)
    if importlib.util.find_spec("neuroglancer") is None:
        raise MissingExtraError(
            "view needs the package neuroglancer. Type: pip install 'tim3d[view]'"
        )
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    shown = layers(sample, names)
    return Task(partial(_plans, shown), partial(_run, sample, shown, port, not no_browser))


def _plans(shown: Sequence[Layer]) -> list[Outline]:
    names = ", ".join(layer.name for layer in shown)
    most = f"{SURFACE_VOXELS / 1e6:.2g} million voxels"
    return [
        Outline(
            "view",
            f"serves {names or 'the fields'}; a request reads one chunk, and a surface at most {most}",
        )
    ]


def _run(sample: str, shown: Sequence[Layer], port: int, browser: bool) -> View:
    from tim3d.viewing.page import Page  # neuroglancer takes a while to load, and a plan needs none

    page = View(Page(Path(sample.rstrip("/")).name, shown, port))
    if browser:
        webbrowser.open(page.url)
    return page
