"""Which device of torch a network runs on."""

from __future__ import annotations

import torch

from tim3d.errors import DeviceError


def choose_device(name: str) -> str:
    """The device of a name, "auto" being CUDA where it is.

    Raises
    ------
    DeviceError
        If CUDA is asked for and not there.
    """
    there = torch.cuda.is_available()
    if name.startswith("cuda") and not there:
        raise DeviceError("no CUDA device is here; use --device cpu")
    return ("cuda" if there else "cpu") if name == "auto" else name


def named_device(name: str) -> torch.device:
    """The device of torch with this name.

    Raises
    ------
    DeviceError
        If there is no such name, or the device is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"no device {name!r}; use --device cpu, cuda or cuda:1") from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceError(
            f"device is {name!r} and {count} CUDA device(s) are here; use --device cpu"
        )
    return device


def torch_version() -> str:
    """Version of torch, which decides the last bits of what networks compute."""
    return str(torch.__version__)
