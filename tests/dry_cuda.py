"""A CUDA device without values: every tensor has a shape, a type and a place, and nothing is computed.

torch's FakeTensorMode refuses tensors on two devices and types that a kernel does not take. What it
lacks for a device is added here: the driver's answers, events and streams that order copies, pinned
memory, and a list of the places where the host waits for the device.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import safetensors.torch
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)

PACKAGE = Path(__file__).parents[1] / "tim3d"
FREE, TOTAL = 70 * 2**30, 80 * 2**30
aten = torch.ops.aten
_numpy, _save = torch.Tensor.numpy, safetensors.torch.save


class UnfinishedCopyError(RuntimeError):
    """The host reads what a copy that runs beside it has not brought yet."""


class DryCuda(FakeTensorMode):
    """Fake tensors on devices that are not there.

    Attributes
    ----------
    waits : Counter of (str, str)
        How often the host waited for the device, by reason and by function of the package:
        "value" (a number is read), "download" and "upload" (a copy that is waited for), "unpinned"
        (a copy that was to run beside, from or to memory that is not pinned).
    """

    # No driver is asked for anything, also where the host knows the value of a tensor.
    avoid_device_init = True

    def __init__(self, devices: int = 1) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.devices = devices
        self.waits: Counter[tuple[str, str]] = Counter()
        self._pinned: dict[int, Any] = {}
        self._coming: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the names of the base class
        kwargs = dict(kwargs or {})
        special = _SPECIAL.get(func)
        if special is not None:
            return special(self, func, types, args, kwargs)
        pinned = kwargs.pop("pin_memory", None)
        made = super().__torch_dispatch__(func, types, args, kwargs)
        if pinned:
            self._pin(made)
        return made

    def wait(self, why: str) -> None:
        """Note that the host waits, and for whom."""
        self.waits[why, caller()] += 1

    def arrive(self, some: dict[int, Any] | None = None) -> None:
        """Take these copies, or all, for done."""
        for key in list(self._coming if some is None else some):
            self._coming.pop(key, None)

    def coming(self) -> dict[int, Any]:
        """Copies to the host that nobody has waited for."""
        return dict(self._coming)

    def values(self, tensor: torch.Tensor) -> np.ndarray:
        """Zeros in the place of a tensor of the host."""
        if tensor.device.type != "cpu":
            raise TypeError(f"can't convert {tensor.device} tensor to numpy: use Tensor.cpu()")
        if tensor.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        if _key(tensor) in self._coming:
            raise UnfinishedCopyError("the copy to this memory has not been waited for")
        return np.zeros(tuple(tensor.shape), _numpy_type(tensor.dtype))

    def _fake(self, tensor: Any) -> Any:
        return tensor if isinstance(tensor, FakeTensor) else self.from_tensor(tensor)

    def _pin(self, tensor: torch.Tensor) -> torch.Tensor:
        self._pinned[_key(tensor)] = tensor.untyped_storage()
        return tensor

    def _value(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if args[0].device.type != "cuda":
            try:
                return super().__torch_dispatch__(func, types, args, kwargs)
            except DataDependentOutputException:
                return _zero(args[0])
        self.wait("value")
        self.arrive()
        return _zero(args[0])

    def _pin_memory(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        given = self._fake(args[0])
        if given.device.type != "cpu":
            raise RuntimeError(f"cannot pin '{given.device}': only CPU memory can be pinned")
        with self:
            return self._pin(torch.empty_strided(given.shape, given.stride(), dtype=given.dtype))

    def _is_pinned(self, func: Any, types: Any, args: Any, kwargs: Any) -> bool:
        return _key(self._fake(args[0])) in self._pinned

    def _to_copy(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        kwargs.pop("pin_memory", None)
        made = super().__torch_dispatch__(func, types, args, kwargs)
        self._copied(self._fake(args[0]), made, kwargs.get("non_blocking", False))
        return made

    def _copy(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        made = super().__torch_dispatch__(func, types, args, kwargs)
        beside = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
        self._copied(self._fake(args[1]), self._fake(args[0]), beside)
        return made

    def _copied(self, source: Any, target: Any, beside: bool) -> None:
        kinds = source.device.type, target.device.type
        if kinds not in (("cpu", "cuda"), ("cuda", "cpu")):
            return
        host = source if kinds[0] == "cpu" else target
        if not beside:
            self.wait("upload" if host is source else "download")
            self.arrive()
        elif _key(host) not in self._pinned:
            self.wait("unpinned")
        if beside and host is target:
            self._coming[_key(host)] = host.untyped_storage()


_SPECIAL: dict[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: DryCuda._value,
    aten._pin_memory.default: DryCuda._pin_memory,
    aten.is_pinned.default: DryCuda._is_pinned,
    aten._to_copy.default: DryCuda._to_copy,
    aten.copy_.default: DryCuda._copy,
}


def _zero(tensor: torch.Tensor) -> Any:
    if tensor.dtype == torch.bool:
        return False
    return 0.0 if tensor.dtype.is_floating_point else 0


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _numpy_type(dtype: torch.dtype) -> Any:
    if dtype == torch.bfloat16:
        raise TypeError("Got unsupported ScalarType BFloat16")
    return np.dtype(str(dtype).removeprefix("torch."))


def caller() -> str:
    """Innermost function of the package that is running: its module and its name."""
    frame = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            module = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
            return f"{module}:{frame.f_code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class _Event:
    """An event: copies that began before it was recorded have ended once it is waited for."""

    def __init__(self, dry: DryCuda) -> None:
        self._dry, self._before = dry, {}  # type: ignore[var-annotated]

    def record(self, stream: Any = None) -> None:
        self._before = self._dry.coming()

    def synchronize(self) -> None:
        self._dry.arrive(self._before)


@cache
def _guards() -> Any:
    """Make torch's own library ask no driver for the device of a tensor; for good."""
    torch._C._ensureCUDADeviceGuardSet()
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10_cuda.so"))
    none = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_byte)(lambda device: False)
    library._ZN3c104cuda9_internal20setHasPrimaryContextEPFbaE(none)
    return none


@contextlib.contextmanager
def dry_cuda(devices: int = 1) -> Iterator[DryCuda]:
    """Run what is inside as if so many CUDA devices were there."""
    _guards()
    dry = DryCuda(devices)

    def synchronize(device: Any = None) -> None:
        dry.wait("all")
        dry.arrive()

    def numpy(tensor: torch.Tensor, *, force: bool = False) -> Any:
        return dry.values(tensor) if isinstance(tensor, FakeTensor) else _numpy(tensor)

    def save(tensors: dict[str, torch.Tensor], metadata: Any = None) -> bytes:
        with unset_fake_temporarily():
            real = {name: torch.zeros(t.shape, dtype=t.dtype) for name, t in tensors.items()}
            return bytes(_save(real, metadata))

    answers: dict[str, Any] = {
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.is_initialized": lambda: True,
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.device_count": lambda: devices,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.device": lambda device: contextlib.nullcontext(),
        "torch.cuda.mem_get_info": lambda device=None: (FREE, TOTAL),
        "torch.cuda.is_bf16_supported": lambda including_emulation=True: True,
        "torch.cuda.get_device_capability": lambda device=None: (9, 0),
        "torch.cuda.empty_cache": lambda: None,
        "torch.cuda.manual_seed": lambda seed: None,
        "torch.cuda.get_rng_state": lambda device=None: None,
        "torch.cuda.set_rng_state": lambda state, device=None: None,
        "torch.cuda.synchronize": synchronize,
        "torch.cuda.Event": lambda *_, **__: _Event(dry),
        "torch.Tensor.numpy": numpy,
        "safetensors.torch.save": save,
        # A module moves by exchanging its tensors, which the mode refers to weakly.
        "torch.utils.weakref": SimpleNamespace(getweakrefs=lambda tensor: []),
    }
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(patch(name, answer))
        stack.enter_context(dry)
        yield dry
