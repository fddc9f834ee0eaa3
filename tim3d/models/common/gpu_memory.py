"""Free memory of GPUs, asked of the driver without a context on any of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch


def free_bytes(device: str) -> int | None:
    """Free memory of a CUDA device in bytes, for "cuda" the least of all visible devices.

    The driver's management library (NVML) is asked: torch would take half a gibibyte of every device
    for a context. Where pynvml is missing or does not know the devices, torch is asked for its
    first one. Memory that this process has freed counts as free.

    Parameters
    ----------
    device : str
        "cuda", any visible device, or "cuda:1", the second of them.

    Returns
    -------
    int or None
        Bytes; None if nothing knows them.
    """
    torch.cuda.empty_cache()
    _, _, place = device.partition(":")
    try:
        found = _by_driver(visible_devices())
        return min(found) if not place else found[int(place)]
    except _unknown():
        return _by_torch(device)


def visible_devices() -> list[str] | None:
    """Numbers or names of the devices that CUDA shows to this process; None for all of them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if named is None else [one.strip() for one in named.split(",") if one.strip()]


def _by_driver(visible: list[str] | None) -> list[int]:
    """Free bytes of each device, by NVML.

    Numbers are taken as dask-cuda takes them, in the order of the bus. CUDA may count the fastest
    first, which makes a difference where devices differ and one of them is named by its number.
    """
    import pynvml

    with _library(pynvml):
        names = map(str, range(pynvml.nvmlDeviceGetCount())) if visible is None else visible
        return [int(pynvml.nvmlDeviceGetMemoryInfo(_handle(pynvml, one)).free) for one in names]


@contextlib.contextmanager
def _library(nvml: Any) -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _handle(nvml: Any, name: str) -> Any:
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _unknown() -> tuple[type[Exception], ...]:
    """Errors that say that NVML does not know the devices."""
    try:
        from pynvml import NVMLError
    except ImportError:
        return (ImportError,)
    return (NVMLError, IndexError, ValueError)


def _by_torch(device: str) -> int | None:
    try:
        return int(torch.cuda.mem_get_info(device)[0])
    except (RuntimeError, AssertionError, ValueError):  # no driver, or a build for the CPU
        return None
