"""The page of the viewer and its server, on this machine only: neuroglancer's, with our fields."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import neuroglancer
import tornado.web
from neuroglancer import server as of_neuroglancer
from neuroglancer.viewer_base import ViewerBase

from tim3d.colours import colours
from tim3d.errors import ArgumentError
from tim3d.viewing import precomputed
from tim3d.viewing.layers import Layer

log = logging.getLogger(__name__)
HERE = "127.0.0.1"
# Width in pixels of a plane, in which the whole volume is to be seen at first.
_PLANE = 320
# Quaternion of the first look at the surfaces: from above and from the side.
_LOOK = (0.79, 0.22, 0.1, 0.56)
_GREY = """#uicontrol invlerp normalized
void main() { emitGrayscale(normalized()); }
"""
# Values below 0 mean that there is none.
_COLOURED = """#uicontrol invlerp normalized
void main() {
  if (toRaw(getDataValue()) < 0.0) { discard; }
  emitRGB(colormapCubehelix(clamp(normalized(), 0.0, 1.0)));
}
"""


class Page(ViewerBase):  # type: ignore[misc]
    """A viewer with a server of its own, so that it can be ended alone.

    Parameters
    ----------
    title : str
        Title of the page.
    layers : sequence of Layer
        What it shows.
    port : int
        Port of this machine; 0 takes a free one.

    Raises
    ------
    ArgumentError
        If the port is in use or not allowed.
    """

    def __init__(self, title: str, layers: Sequence[Layer], port: int) -> None:
        self.server = _server(port)
        super().__init__(allow_credentials=False)
        self.server.viewers[self.token] = self
        place = f"/data/{self.token}"
        arguments = {"layers": layers, "executor": self.server.executor}
        self.server.app.add_handlers(
            ".*", [(rf"{place}/(?P<number>\d+)/(?P<path>.*)", Data, arguments)]
        )
        self.source = f"precomputed://{self.server.server_url}{place}"
        self.set_state(state(title, layers, self.source))

    def defer_callback(self, callback: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Call a function in the thread of the server; neuroglancer asks for this."""
        call = functools.partial(callback, *arguments, **named)
        self.server.loop.call_soon_threadsafe(call)

    @property
    def url(self) -> str:
        """Where a browser of this machine finds the page; the token in it is the key."""
        return f"{self.server.server_url}/v/{self.token}/"

    def close(self) -> None:
        """End the server."""
        self.server.stop()
        self.server.executor.shutdown(cancel_futures=True)


def _server(port: int) -> Any:
    _refuse_taken(port)
    return of_neuroglancer.Server(bind_address=HERE, bind_port=port)


def _refuse_taken(port: int) -> None:
    """Try the port first: where it is taken, neuroglancer's server would leave a socket open."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, port))
        except OSError as error:
            seen = "is in use" if error.errno == errno.EADDRINUSE else f"({error.strerror})"
            raise ArgumentError(
                f"port {port} {seen}. Give another one, or --port 0 for any that is free"
            ) from error


class Data(tornado.web.RequestHandler):
    """Answers requests for what the layers show."""

    def initialize(self, layers: Sequence[Layer], executor: Any) -> None:
        """Keep what requests are about, and the threads that read."""
        self.layers, self.executor = layers, executor

    async def get(self, number: str, path: str) -> None:
        """Read in a thread; voxels that cannot be read are an error and not zeros."""
        try:
            layer = self.layers[int(number)]
            work = self.executor.submit(precomputed.served, layer, path)
            content, kind = await asyncio.wrap_future(work)
        except (IndexError, precomputed.NotThereError):
            self.send_error(404)
            return
        except Exception as error:  # codecs and stores share no base class
            log.error("%s: %s", self.layers[int(number)].name, error)
            self.send_error(500)
            return
        self.set_header("Content-Type", kind)
        self.finish(content)


def state(title: str, layers: Sequence[Layer], source: str) -> Any:
    """State of the page at first: all layers with their colours, the middle of the volume.

    Parameters
    ----------
    title : str
        Title of the page.
    layers : sequence of Layer
        Fields.
    source : str
        Address below which each of them is served under its number.
    """
    shown = neuroglancer.ViewerState()
    shown.title = title
    first = layers[0].field
    spacing = first.spacing_nm[::-1]
    shown.dimensions = neuroglancer.CoordinateSpace(
        names=["x", "y", "z"], units="nm", scales=spacing
    )
    shown.position = [n / 2 for n in first.shape[::-1]]
    longest = max(n * s for n, s in zip(first.shape, first.spacing_nm, strict=True))
    # Both are in edges of the smallest voxel.
    shown.cross_section_scale = longest / min(spacing) / _PLANE
    shown.projection_scale = 1.8 * longest / min(spacing)
    shown.projection_orientation = _LOOK
    shown.show_slices = False
    shown.layout = "4panel"
    greys = [layer.name for layer in layers if layer.kind == "grey"]
    for number, layer in enumerate(layers):
        place = f"{source}/{number}"
        visible = layer.kind == "phases" or layer.name == ("raw" if "raw" in greys else greys[:1])
        shown.layers.append(name=layer.name, layer=_shown(layer, place), visible=visible)
        if layer.kind == "phases":
            surfaces = _surfaces(layer, f"{place}/mesh")
            shown.layers.append(name=f"surfaces of {layer.name}", layer=surfaces, visible=visible)
    return shown


def _shown(layer: Layer, source: str) -> Any:
    if layer.kind == "phases":
        return _segments(layer, source, dict(layer.field.phases or {}), selected_alpha=0.35)
    if layer.kind == "numbers":
        return neuroglancer.SegmentationLayer(source=source)
    low, high = layer.range()
    controls = {"normalized": {"range": [low, high]}}
    shader = _GREY if layer.kind == "grey" else _COLOURED
    return neuroglancer.ImageLayer(
        source=source, shader=shader, shader_controls=controls, opacity=1
    )


def _surfaces(layer: Layer, source: str) -> Any:
    """Surfaces of all phases but pores, which would hide them."""
    phases = dict(layer.field.phases or {})
    solid = {name: code for name, code in phases.items() if name != "pore"} or phases
    return _segments(layer, source, solid)


def _segments(layer: Layer, source: str, shown: dict[str, int], **more: Any) -> Any:
    phases: Mapping[str, int] = layer.field.phases or {}
    shades = colours(phases)
    return neuroglancer.SegmentationLayer(
        source=source,
        segments=list(shown.values()),
        segment_colors={code: shades[name] for name, code in phases.items()},
        hide_segment_zero=False,
        **more,
    )
