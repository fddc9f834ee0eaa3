"""A headless browser for the viewer: Chromium, which draws WebGL without a graphics card."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# No sandbox: tests may run as root. Names are not resolved: nothing comes from a network.
_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--window-size=900,700",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def looking_at(url: str, folder: Path) -> Iterator[None]:
    """A browser that has opened a page."""
    command = [str(CHROMIUM), *_FLAGS, f"--user-data-dir={folder / 'browser'}", url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            yield
        finally:
            browser.terminate()


def screenshot(page: Any, size: tuple[int, int], seconds: float = 200) -> Any:
    """Pixels (height, width, 4) of the page, once all its chunks are there."""
    taken: list[Any] = []
    look = threading.Thread(target=lambda: taken.append(page.screenshot(size)), daemon=True)
    look.start()
    look.join(seconds)
    assert taken, f"no screenshot within {seconds:g} s"
    return taken[0].screenshot.image_pixels
