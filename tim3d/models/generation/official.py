"""Import of generators of the official SliceGAN repository and of MicroLib.

Files are ``NAME_Gen.pt`` with ``NAME_params.data``, or ``NAME.Gen`` with ``NAME.params``.

Two layouts are supported: transposed convolutions only (2020), and a trilinear resize with a
convolution instead of the last one (since 2022), whose output depends on the size of the whole
volume. MicroLib's lists of kernels and strides may be longer than that of paddings, which decides
the number of layers. Both files are pickles; the readers accept tensors, lists and integers only, so
that nothing in them can run.

References
----------
Kench, Cooper, Nat. Mach. Intell. 3 (2021) 299 (SliceGAN). DOI 10.1038/s42256-021-00322-1
Kench et al., Sci. Data 9 (2022) 645 (MicroLib). DOI 10.1038/s41597-022-01744-1
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.kernels.generation.architecture import KERNEL, STRIDE, Architecture, Kind, Output
from tim3d.models.common.weights import UNREADABLE
from tim3d.models.generation.export import GeneratorDescription, save_generator
from tim3d.models.generation.slicegan import Generator
from tim3d.phases import Phases

# Lists in the file of parameters, in this order.
NAMES = ("dk", "ds", "df", "dp", "gk", "gs", "gf", "gp")
LARGEST_PARAMETERS = 2**16
# Endings of the file of weights, and of the file of parameters beside it.
ENDINGS = {"_Gen.pt": "_params.data", ".Gen": ".params"}


@dataclass(frozen=True, slots=True)
class Official:
    """Parameters: kernels, strides, widths and paddings of the critic (d) and generator (g)."""

    dk: tuple[int, ...]
    ds: tuple[int, ...]
    df: tuple[int, ...]
    dp: tuple[int, ...]
    gk: tuple[int, ...]
    gs: tuple[int, ...]
    gf: tuple[int, ...]
    gp: tuple[int, ...]


def import_official(
    checkpoint: str | Path,
    out: str | Path,
    spacing_nm: tuple[float, float, float],
    phases: Phases | None = None,
) -> str:
    """Write an official generator as a file of this package and return its SHA-256.

    Parameters
    ----------
    checkpoint : path
        ``NAME_Gen.pt``, with ``NAME_params.data`` beside it; or ``NAME.Gen`` with ``NAME.params``.
    out : path
        File to write.
    spacing_nm : (z, y, x)
        Edges of a voxel in nm, which the checkpoint does not contain.
    phases : Phases, optional
        Names and codes in the order of the channels, which is the order of grey values in the
        training image. Without them one channel is grey and three are colour.

    Raises
    ------
    CheckpointError
        If a file is missing or foreign, or the layout is not one of the two.
    ArgumentError
        If the phases do not fit, or the network cannot be cut into blocks (padding below 2).
    """
    path = Path(checkpoint)
    parameters = read_parameters(parameters_beside(path))
    state = read_state(path)
    architecture = architecture_of(parameters, "rcconv.weight" in state, phases, str(path))
    net = Generator(architecture)
    _load(net, state, str(path))
    return save_generator(
        out, net.eval(), GeneratorDescription(architecture, spacing_nm, phases, {"from": path.name})
    )


def parameters_beside(path: Path) -> Path:
    """File of parameters that belongs to a file of weights.

    Raises
    ------
    CheckpointError
        If the file of weights has another ending.

    Examples
    --------
    >>> parameters_beside(Path("nmc_Gen.pt")).name, parameters_beside(Path("micro393.Gen")).name
    ('nmc_params.data', 'micro393.params')
    """
    for weights, parameters in ENDINGS.items():
        if path.name.endswith(weights):
            return path.with_name(path.name.removesuffix(weights) + parameters)
    raise CheckpointError(
        f"{path} is not named NAME_Gen.pt or NAME.Gen: only generators of the official SliceGAN code and of MicroLib "
        "can be imported, with NAME_params.data or NAME.params beside them. A network for segmentation cannot: train "
        "one with tim3d train"
    )


def architecture_of(
    official: Official, resizes: bool, phases: Phases | None, where: str
) -> Architecture:
    """Return the architecture of an official network.

    Raises
    ------
    CheckpointError
        If a kernel is not 4 or a stride not 2, or the lengths do not fit each other.
    ArgumentError
        If a padding is below 2, or the phases do not fit the outputs.
    """
    layers = len(official.gp)
    # The official code pairs the lists with zip: what is beyond the last padding makes no layer.
    kernels, strides = official.gk[:layers], official.gs[:layers]
    if {len(kernels), len(strides), len(official.gf) - 1} != {layers} or layers < 2:
        raise CheckpointError(
            f"{where}: the generator has {layers} paddings, {len(official.gk)} kernels, {len(official.gs)} strides and "
            f"{len(official.gf)} widths; expected a kernel and a stride for each padding, and one width more"
        )
    for number, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
        if (kernel, stride) != (KERNEL, STRIDE):
            raise CheckpointError(
                f"{where}: layer {number} of the generator has kernel {kernel} and stride {stride}; "
                f"only kernel {KERNEL} and stride {STRIDE} throughout can be made block by block here"
            )
    kind: Kind = "official-resize" if resizes else "transposed"
    return Architecture(
        "official",
        kind,
        official.gf,
        official.gp[: layers - resizes],
        official.df[1:-1],
        _output(official.gf[-1], phases, where),
    )


def _output(channels: int, phases: Phases | None, where: str) -> Output:
    if phases is not None:
        if len(phases) != channels:
            raise ArgumentError(
                f"{where} has {channels} channels, and {len(phases)} phases are named: {phases}"
            )
        phases.require_order("the first channel")
        return "phases"
    if channels in (1, 3):
        return "grey" if channels == 1 else "colour"
    raise ArgumentError(
        f"{where} has {channels} channels, one for each phase; name them: --phases pore=0,solid=1"
    )


def read_parameters(path: Path) -> Official:
    """Read the lists of ``*_params.data``.

    Raises
    ------
    CheckpointError
        If the file is missing or holds anything but eight lists of integers.
    """
    try:
        with path.open("rb") as file:
            values: Any = (
                _ListsOnly(file).load() if path.stat().st_size <= LARGEST_PARAMETERS else None
            )
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror}; it must lie beside the checkpoint"
        ) from error
    # A pickle may promise a frame of any size.
    except (pickle.UnpicklingError, MemoryError, *UNREADABLE) as error:
        raise CheckpointError(f"{path} is not a SliceGAN parameter file: {error}") from error
    if not _is_lists(values):
        raise CheckpointError(
            f"{path} is not a SliceGAN parameter file: expected lists {', '.join(NAMES)} of integers"
        )
    return Official(*(tuple(one) for one in values))


def _is_lists(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) == len(NAMES)
        and all(
            isinstance(one, list | tuple) and all(type(n) is int for n in one) for one in values
        )
    )


class _ListsOnly(pickle.Unpickler):
    """Unpickler of lists, tuples and numbers that refuses any name of a class or function."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(
            f"it asks for {module_name}.{global_name}, and only lists of integers are read"
        )


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the weights of ``*_Gen.pt`` by name, without the prefix of a training on several GPUs.

    Raises
    ------
    CheckpointError
        If the file is missing or holds anything but tensors by name.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; check its path") from error
    except (pickle.UnpicklingError, *UNREADABLE) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is not a SliceGAN checkpoint: {first}") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise CheckpointError(f"{path} is not a SliceGAN checkpoint: expected tensors by name")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _load(net: Generator, state: dict[str, Tensor], where: str) -> None:
    """Load the weights in use, without a normalisation or layer that is stored but never called."""
    unused = {f"bns.{len(net.bns)}"} | (
        {f"convs.{len(net.convs)}"} if net.rcconv is not None else set()
    )
    used = {
        name: value for name, value in state.items() if ".".join(name.split(".")[:2]) not in unused
    }
    try:
        net.load_state_dict(used, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise CheckpointError(
            f"{where} does not fit its file of parameters: {lines[-1]}"
        ) from error
