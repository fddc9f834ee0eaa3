"""Device of torch that a network runs on."""

from __future__ import annotations

import torch

from tim3d.errors import DeviceError


def choose_device(name: str) -> str:
    """Return the name of a device; "auto" is CUDA if it is available, else the CPU.

    Raises
    ------
    DeviceError
        If the name is unknown, or CUDA is requested and not available.
    """
    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    if name.startswith("cuda") and not there:
        raise DeviceError("no CUDA device is here; use --device cpu")
    return str(named_device(name))


def named_device(name: str) -> torch.device:
    """Return the device of torch with this name.

    Raises
    ------
    DeviceError
        If the name is unknown, or the device is not available.
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
    """Version of torch, which determines the last bits of the output of a network."""
    return str(torch.__version__)
