"""Architecture of generators: the latent nodes of each voxel, the correlation length and the cost.

A layer of kernel 4 and stride 2 is y[o] = sum_i x[i] w[o + p - 2 i]. In the uncropped output, only
the first and last two samples lack contributions of nodes outside the window; a padding p of 2 or
more crops these samples. Four nodes, one letter a sample::

    node 0      aaaa
    node 1        bbbb
    node 2          cccc
    node 3            dddd
    output      --yyyyyy--      10 samples, 6 after the crop: each y has both of its two nodes

Hence no voxel depends on an edge of the window, and any box of an endless volume follows from the
nodes around it. Over all layers, n nodes give n * step - lost voxels, from the voxel of the first
node on. The voxels [100, 140) of the preset "demo" (step 16, lost 32), one letter for two voxels::

    node        6       7       8       9       10      at voxel 96, 112, 128, 144, 160
    window      vvvvvvvvvvvvvvvvvvvvvvvv                5 nodes give 48 voxels, 96 to 143
    box           bbbbbbbbbbbbbbbbbbbb                  voxels 100 to 139

Nothing here needs torch.

References
----------
Kench, Cooper, Nat. Mach. Intell. 3 (2021) 299 (SliceGAN). DOI 10.1038/s42256-021-00322-1
Sugiura et al., J. Imaging 9 (2023) 90 (Big-Volume SliceGAN). DOI 10.3390/jimaging9050090
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple

KERNEL, STRIDE = 4, 2
# Nodes along an edge in training: four, so that the generator learns the overlap of neighbours.
CROP_NODES = 4
Kind = Literal["transposed", "resize", "official-resize"]
Output = Literal["phases", "grey", "colour"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Layers of a generator and of its critics.

    Parameters
    ----------
    name : str
        Name of the architecture.
    kind : {"transposed", "resize", "official-resize"}
        Transposed convolutions of kernel 4 and stride 2 throughout; or these followed by a
        trilinear resize by exactly 2 and a convolution of kernel 3; or the latter with the resize
        of the official code, which depends on the size of the whole volume.
    channels : tuple of int
        Number of latent channels, of channels of each hidden layer, and of outputs.
    paddings : tuple of int
        Padding of each transposed convolution, 2 or more.
    critic : tuple of int
        Widths of the hidden layers of a critic: kernel 4, stride 2, padding 1; the last layer has
        no padding.
    output : {"phases", "grey", "colour"}
        One channel per phase; one grey value; red, green and blue.

    Raises
    ------
    ArgumentError
        If the numbers are inconsistent, or a padding is below kernel - stride = 2.

    Examples
    --------
    >>> demo = preset("demo")
    >>> demo.levels, demo.step, demo.correlation, demo.crop
    (4, 16, 46, 32)
    >>> demo.nodes_for(100, 140)
    (6, 11)
    >>> round(demo.kmac_per_voxel, 1), demo.parameters
    (3.6, 790976)
    """

    name: str
    kind: Kind
    channels: tuple[int, ...]
    paddings: tuple[int, ...]
    critic: tuple[int, ...] = ()
    output: Output = "phases"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.output not in get_args(Output):
            raise ArgumentError(
                f"{self.name}: kind {self.kind!r} and output {self.output!r}; choose of {', '.join(get_args(Kind))} "
                f"and of {', '.join(get_args(Output))}"
            )
        layers = len(self.channels) - 1 - (self.kind != "transposed")
        if (
            layers < 1
            or len(self.paddings) != layers
            or min(self.channels) < 1
            or min(self.critic, default=1) < 1
        ):
            raise ArgumentError(
                f"{self.name}: channels {self.channels} make {layers} transposed convolutions, and there are "
                f"{len(self.paddings)} paddings; give positive widths and one padding for each"
            )
        self._check_paddings()
        self._check_outputs()

    def _check_paddings(self) -> None:
        for number, padding in enumerate(self.paddings):
            if padding < KERNEL - STRIDE:
                raise ArgumentError(
                    f"{self.name}: layer {number} has padding {padding}, below kernel - stride = {KERNEL - STRIDE}; "
                    "its outer voxels would see the edge of the window, and blocks would not fit together. "
                    "Give every layer a padding of 2 or more"
                )
        if self.output_edge(CROP_NODES) < 1:
            raise ArgumentError(
                f"{self.name}: paddings {self.paddings} leave nothing of {CROP_NODES} nodes"
            )

    def _check_outputs(self) -> None:
        outputs = self.outputs
        fits = {"phases": 2 <= outputs <= 255, "grey": outputs == 1, "colour": outputs == 3}[
            self.output
        ]
        if not fits:
            raise ArgumentError(
                f"{self.name}: {outputs} output channels for output {self.output!r}; phases need 2 to 255, grey 1, "
                "colour 3"
            )

    @property
    def latent(self) -> int:
        """Number of channels of the latent noise."""
        return self.channels[0]

    @property
    def outputs(self) -> int:
        """Number of output channels."""
        return self.channels[-1]

    @property
    def levels(self) -> int:
        """Number L of doublings from the nodes to the voxels."""
        return len(self.paddings) + (self.kind != "transposed")

    @property
    def step(self) -> int:
        """Distance of neighbouring nodes, 2^L, in voxels."""
        return int(STRIDE**self.levels)

    @property
    def correlation(self) -> int:
        """Number of voxels that one node affects along an axis, 3 * 2^L - 2 (+ 2 with a resize).

        Values at this distance or more are independent: longer features cannot be generated.
        """
        reach = 1
        for _ in range(self.levels):
            reach = STRIDE * (reach - 1) + KERNEL
        return reach + 2 * (self.kind != "transposed")

    @property
    def lost(self) -> int:
        """Difference between n * step and the voxels that n nodes give, in voxels."""
        lost = 0
        for padding in self.paddings:
            lost = STRIDE * lost + 2 * padding - KERNEL + STRIDE
        return lost if self.kind == "transposed" else STRIDE * lost + 4

    @property
    def early(self) -> int:
        """Nodes of a window before its first voxel: 1 if the resize depends on the size, else 0."""
        return int(self.kind == "official-resize")

    @property
    def extra(self) -> int:
        """Nodes that a box of whole steps needs in addition to one per step; 2 for the presets."""
        return -(-self.lost // self.step) + 2 * self.early

    @property
    def crop(self) -> int:
        """Edge of the volumes in training, from four nodes, in voxels; 2 * 2^L for the presets."""
        return self.output_edge(CROP_NODES)

    @property
    def critic_field(self) -> int:
        """Receptive field of a critic in pixels: 3 * 2^n - 2 for n layers, at most the crop."""
        reach = 1
        for _ in range(len(self.critic) + 1):
            reach = STRIDE * (reach - 1) + KERNEL
        return min(reach, self.crop)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters: convolutions, and two for each normalised channel."""
        hidden = (
            self.channels[1 : len(self.paddings) + 1]
            if self.kind != "transposed"
            else self.channels[1:-1]
        )
        return (
            sum(self._weights())
            + 2 * sum(hidden)
            + (self.outputs if self.kind != "transposed" else 0)
        )

    @property
    def kmac_per_voxel(self) -> float:
        """Thousands of multiply-accumulates per voxel, without the overlap of windows."""
        densities = [8.0 ** -(self.levels - number) for number in range(len(self.paddings))]
        densities += [1.0] * (self.kind != "transposed")
        return sum(d * w for d, w in zip(densities, self._weights(), strict=True)) / 1000

    def _weights(self) -> list[int]:
        volumes = [KERNEL**3] * len(self.paddings) + [27] * (self.kind != "transposed")
        return [
            v * a * b for v, a, b in zip(volumes, self.channels, self.channels[1:], strict=False)
        ]

    def output_edge(self, nodes: int) -> int:
        """Voxels along an axis that a window of `nodes` nodes gives: 2^L (n - 2) for the presets.

        Node a lies at voxel a * step, and the voxels of a window start at its first node.
        """
        return nodes * self.step - self.lost

    def nodes_for(self, lo: int, hi: int) -> tuple[int, int]:
        """Nodes [a, b) of the smallest window that gives the voxels [lo, hi) of an axis."""
        first = lo // self.step
        last = first - (-(hi - first * self.step + self.lost) // self.step)
        return first - self.early, last + self.early

    def tile(self, nodes: int) -> int:
        """Edge of the tile of whole steps that `nodes` nodes give, step * (nodes - extra)."""
        return self.step * (nodes - self.extra)

    def edges(self, nodes: int) -> list[int]:
        """Input edge of each layer, and output edge of the last, for a window of `nodes` nodes."""
        edges = [nodes]
        for padding in self.paddings:
            edges.append(STRIDE * (edges[-1] - 1) + KERNEL - 2 * padding)
        return edges if self.kind == "transposed" else [*edges, STRIDE * edges[-1] - 4]

    def overlap(self, nodes: int) -> float:
        """Ratio of the work on a tile with and without overlap; 1 for very large tiles."""
        volumes = [e**3 for e in self.edges(nodes)]
        work = [w * v for w, v in zip(self._weights(), volumes, strict=False)]
        if self.kind != "transposed":
            work[-1] = self._weights()[-1] * volumes[-1]
        return sum(work) / (1000 * self.kmac_per_voxel * self.tile(nodes) ** 3)

    def described(self) -> str:
        """Summary for the user: size, geometry and correlation length.

        Examples
        --------
        >>> print(preset("demo").described())
        demo: transposed, 16-128-64-32-2 channels, 0.79 M parameters, 3.6 kMAC a voxel
        a node every 16 voxels; a crop of 32 voxels from 4 nodes; n nodes give 16 n - 32 voxels
        no dependence at 46 voxels or more; the critic sees 32 pixels
        """
        widths = "-".join(map(str, self.channels))
        return (
            f"{self.name}: {self.kind}, {widths} channels, {self.parameters / 1e6:.2f} M parameters, "
            f"{self.kmac_per_voxel:.1f} kMAC a voxel\n"
            f"a node every {self.step} voxels; a crop of {self.crop} voxels from {CROP_NODES} nodes; "
            f"n nodes give {self.step} n - {self.lost} voxels\n"
            f"no dependence at {self.correlation} voxels or more; the critic sees {self.critic_field} pixels"
        )

    def to_json(self) -> str:
        """Serialise the fields as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Restore an architecture from the result of `to_json`.

        Raises
        ------
        ArgumentError
            If fields are unknown or missing, or their values are inconsistent.
        """
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise ArgumentError(f"not the architecture of a generator: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Create an architecture from its fields; lists are accepted for tuples.

        Raises
        ------
        ArgumentError
            If fields are unknown or missing, or their values are inconsistent.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ArgumentError(f"unknown fields of an architecture: {', '.join(unknown)}")
        if missing := sorted({"name", "kind", "channels", "paddings"} - set(values)):
            raise ArgumentError(f"an architecture needs {', '.join(missing)}")
        plain: dict[str, Any] = {
            k: tuple(map(int, v)) if isinstance(v, list | tuple) else v for k, v in values.items()
        }
        return cls(**plain)


PRESETS = {
    a.name: a
    for a in (
        Architecture(
            "paper", "transposed", (64, 512, 256, 128, 64, 2), (2, 2, 2, 2, 3), (64, 128, 256, 512)
        ),
        Architecture(
            "official",
            "transposed",
            (16, 256, 256, 128, 64, 2),
            (2, 2, 2, 2, 3),
            (64, 128, 256, 512),
        ),
        Architecture(
            "big-volume",
            "transposed",
            (64, 512, 256, 128, 64, 32, 2),
            (2, 2, 2, 2, 2, 3),
            (32, 64, 128, 256, 512),
        ),
        Architecture(
            "resize", "resize", (32, 1024, 512, 128, 32, 2), (2, 2, 2, 2), (64, 128, 256, 512)
        ),
        Architecture("demo", "transposed", (16, 128, 64, 32, 2), (2, 2, 2, 3), (32, 64, 128)),
        Architecture("demo-resize", "resize", (16, 128, 64, 32, 2), (2, 2, 2), (32, 64, 128)),
        Architecture(
            "demo-big", "transposed", (16, 128, 64, 32, 16, 2), (2, 2, 2, 2, 3), (16, 32, 64, 128)
        ),
    )
}


def preset(name: str, outputs: int = 2, output: Output = "phases") -> Architecture:
    """Return a preset for a number of phases, or for grey or colour images.

    The demo presets are for training on a CPU; with more than two phases the last hidden layer
    grows with the outputs, so that a phase has as many channels as with two.

    Parameters
    ----------
    name : str
        Name of the preset.
    outputs : int
        Number of output channels.
    output : {"phases", "grey", "colour"}
        Meaning of the output channels.

    Raises
    ------
    ArgumentError
        If the preset does not exist, or `outputs` does not match `output`.

    Examples
    --------
    >>> preset("demo", 3).channels, preset("paper", 1, "grey").channels
    ((16, 128, 64, 48, 3), (64, 512, 256, 128, 64, 1))
    """
    if name not in PRESETS:
        raise ArgumentError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    known = PRESETS[name]
    hidden = list(known.channels[1:-1])
    if name.startswith("demo") and outputs > 2:
        hidden[-1] = max(hidden[-1], hidden[-1] * outputs // 2)
    return replace(known, channels=(known.latent, *hidden, outputs), output=output)


def whole_nodes(architecture: Architecture, shape: Triple) -> Triple:
    """Number of nodes along each axis of a volume that is generated in one piece."""
    return triple(architecture.nodes_for(0, n)[1] - architecture.early for n in shape)


def tile_nodes(architecture: Architecture, edge: int) -> int:
    """Number of nodes of a window that gives a tile of about `edge` voxels, at least one step.

    >>> tile_nodes(preset("paper"), 128), tile_nodes(preset("demo"), 128)
    (6, 10)
    """
    return max(1, edge // architecture.step) + architecture.extra
