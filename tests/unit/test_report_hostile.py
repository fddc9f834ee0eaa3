"""No name, text or unit in a sample becomes markup in its report, wherever it is shown."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.reporting.html import document
from tim3d.sections import Parts, Section, note, table
from tim3d.storage import store

EVIL = "<script onload=\"a\" onerror='b'>&"
QUIET = tim3d.Options(progress=False)


class Tags(HTMLParser):
    """Tags, attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.long
def test_nothing_that_a_sample_says_becomes_markup(tmp_path: Path) -> None:
    sample, source = str(tmp_path / "<script>'\".zarr"), tmp_path / "a.npy"
    np.save(source, (np.arange(8 * 16 * 16).reshape(8, 16, 16) % 3 == 0).astype(np.uint8))
    size = {"z": 10, "y": 10, "x": 10}
    phases = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(source, sample, field="phase", phases=phases, voxel_size=size, options=QUIET)
    found = tim3d.measure(sample, ["phase_fraction"], options=QUIET).load()
    evil = {"units": EVIL, "long_name": EVIL, "method": EVIL, "reference": EVIL}
    found[EVIL] = ("phase", np.array([1.0, 2.0]), evil)
    record = store.node_attributes(sample, "phase_descriptors") | {"parameters": {EVIL: EVIL}}
    store.write_dataset(sample, "phase_descriptors", found.assign_attrs({}), record)
    own = Section(EVIL, lambda parts, node: [EVIL, note(EVIL), table([EVIL], [[EVIL]], 1, EVIL)])
    page = Tags(document(Parts(sample, field="phase"), EVIL, [own]))
    assert not {"script"} & page.tags
    assert not {"onload", "onerror"} & page.attributes
    # Title (in the head and above the page), heading, text, note, header, cell and caption of the
    # section; name, unit, definition of a variable and its parameters among the nodes.
    assert page.text.count(EVIL) >= 12
