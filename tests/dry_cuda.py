"""A CUDA device without values: its tensors have a shape, a type and a place, and nothing is computed.

Tensors of the host are real. Those of the device are torch's fake tensors, which refuse to meet
tensors of another place and types that a kernel does not take. What the mode lacks for a device is
added here: the driver's answers, events that order copies, pinned memory, and a list of the places
where the host waits for the device. Gradients are taken for given: the engine of torch asks the
driver for streams, so that every parameter that a loss depends on gets a gradient of its own shape
and place, and no kernel of a way back is tried.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

PACKAGE = Path(__file__).parents[1] / "tim3d"
FREE, TOTAL = 70 * 2**30, 80 * 2**30
aten = torch.ops.aten
_numpy = torch.Tensor.numpy


class UnfinishedCopyError(RuntimeError):
    """The host reads what a copy that runs beside it has not brought yet."""


class DryCuda(FakeTensorMode):
    """Fake tensors on devices that are not there.

    Attributes
    ----------
    waits : Counter of (str, str)
        How often the host waited for the device, by reason and by function of the package:
        "value" (a number is read), "download" and "upload" (a copy that is waited for), "unpinned"
        (a copy that was to run beside, from or to memory that is not pinned), "all" (everything is
        waited for).
    """

    # No driver is asked for anything, also where the host knows the value of a tensor.
    avoid_device_init = True

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.waits: Counter[tuple[str, str]] = Counter()
        # Storages by their address, held so that no address is used twice.
        self._pinned: dict[int, Any] = {}
        self._coming: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation: for real on the host, without values on a device."""
        kwargs = dict(kwargs or {})
        pinned = kwargs.pop("pin_memory", None)
        special = _SPECIAL.get(func)
        if special is not None:
            return special(self, func, types, args, kwargs)
        if func.overloadpacket in _COMPOSED:
            with self:
                return func.decompose(*args, **kwargs)
        if _is_on_host(args, kwargs):
            made = func(*args, **kwargs)
            return self._pin(made) if pinned else made
        args, kwargs = tree_map(self._faked, (args, kwargs))
        return tree_map(_landed, super().__torch_dispatch__(func, types, args, kwargs))

    def _faked(self, one: Any) -> Any:
        """A tensor of the host as it is seen beside those of a device."""
        if not isinstance(one, torch.Tensor) or isinstance(one, FakeTensor):
            return one
        return self._placed(one, one.device)

    def _placed(self, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        """A tensor without values, like another one but for its place."""
        if tensor.is_meta or device.type == "meta":
            return tensor
        meta = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        return self.fake_tensor_converter.from_meta_and_device(self, meta, device)

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

    def values(self, tensor: torch.Tensor) -> Any:
        """Values of a tensor of the host."""
        if isinstance(tensor, FakeTensor):
            raise TypeError(f"can't convert {tensor.device} tensor to numpy: use Tensor.cpu()")
        if _key(tensor) in self._coming:
            raise UnfinishedCopyError("the copy to this memory has not been waited for")
        return _numpy(tensor)

    def _pin(self, tensor: torch.Tensor) -> torch.Tensor:
        self._pinned[_key(tensor)] = tensor.untyped_storage()
        return tensor

    def on_value(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(args[0], FakeTensor):
            return func(*args, **kwargs)
        self.wait("value")
        self.arrive()
        if args[0].dtype == torch.bool:
            return False
        return 0.0 if args[0].dtype.is_floating_point else 1

    def on_equal(self, func: Any, types: Any, args: Any, kwargs: Any) -> bool:
        if _is_on_host(args, kwargs):
            return bool(func(*args, **kwargs))
        self.wait("value")
        return args[0].shape == args[1].shape

    def on_pin_memory(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(args[0], FakeTensor):
            raise RuntimeError(f"cannot pin '{args[0].device}': only CPU memory can be pinned")
        return self._pin(args[0].clone())

    def on_is_pinned(self, func: Any, types: Any, args: Any, kwargs: Any) -> bool:
        return _key(args[0]) in self._pinned

    def on_to_copy(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if _is_on_host(args, kwargs):
            return func(*args, **kwargs)
        if isinstance(args[0], FakeTensor):
            made = _landed(super().__torch_dispatch__(func, types, args, kwargs))
        else:
            host = {name: value for name, value in kwargs.items() if name not in _OF_A_COPY}
            made = self._placed(func(args[0], **host), torch.device(kwargs["device"]))
        self._copied(args[0], made, kwargs.get("non_blocking", False))
        return made

    def on_copy(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        target, source = args[:2]
        if not isinstance(target, FakeTensor) and not isinstance(source, FakeTensor):
            return func(*args, **kwargs)
        if isinstance(target, FakeTensor):
            super().__torch_dispatch__(func, types, (target, self._faked(source)), {})
        elif target.shape != source.shape:
            raise RuntimeError(f"a copy of {tuple(source.shape)} to {tuple(target.shape)}")
        else:
            target.zero_()  # memory that was only reserved may hold what is no number
        self._copied(
            source, target, kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
        )
        return target

    def _copied(self, source: Any, target: Any, beside: bool) -> None:
        down, up = isinstance(source, FakeTensor), isinstance(target, FakeTensor)
        if down == up:
            return
        host = target if down else source
        if not beside:
            self.wait("download" if down else "upload")
            self.arrive()
        elif _key(host) not in self._pinned:
            self.wait("unpinned")
        if beside and down:
            self._coming[_key(host)] = host.untyped_storage()


_SPECIAL: dict[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: DryCuda.on_value,
    aten.equal.default: DryCuda.on_equal,
    aten._pin_memory.default: DryCuda.on_pin_memory,
    aten.is_pinned.default: DryCuda.on_is_pinned,
    aten._to_copy.default: DryCuda.on_to_copy,
    aten.copy_.default: DryCuda.on_copy,
}


_OF_A_COPY = {"device", "non_blocking"}
# Of operations above, which inference mode does not take apart by itself.
_COMPOSED = {aten.to, aten.item, aten.is_nonzero, aten.pin_memory}


def _is_on_host(args: Any, kwargs: Any) -> bool:
    """Whether an operation has nothing to do with a device that is not there."""
    return not any(
        isinstance(one, FakeTensor) or (isinstance(one, torch.device) and one.type == "cuda")
        for one in tree_leaves((args, kwargs))
    )


def _landed(made: Any) -> Any:
    """What came from a device to the host: zeros, in the memory that was made for it."""
    if isinstance(made, FakeTensor) and made.device.type == "cpu":
        return torch.empty_strided(made.shape, made.stride(), dtype=made.dtype).zero_()
    if isinstance(made, torch.Tensor) and not isinstance(made, FakeTensor):
        return made.zero_()
    return made


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def caller() -> str:
    """Innermost function of the package that is running, with its module; a loop in it is part of it."""
    frame = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            module = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
            name = re.sub(r"\.<locals>\.<\w+>", "", frame.f_code.co_qualname)
            return f"{module}:{name}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class DryEvent:
    """An event: copies that began before it was recorded have ended once it is waited for."""

    def __init__(self, dry: DryCuda) -> None:
        self._dry = dry
        self._before: dict[int, Any] = {}

    def record(self, stream: Any = None) -> None:
        self._before = self._dry.coming()

    def synchronize(self) -> None:
        self._dry.arrive(self._before)


def _leaves(outputs: Any) -> Iterator[torch.Tensor]:
    """Parameters that some tensors depend on."""
    left, seen = [one.grad_fn for one in outputs], set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        left += [function for function, _ in node.next_functions]


def _backward(
    outputs: Any, gradients: Any, keep: Any, create: bool, inputs: Any, *_: Any, **__: Any
) -> Any:
    """Gradients of the shape and place of what they belong to."""
    for output, gradient in zip(outputs, gradients, strict=True):
        if output.grad_fn is None or (gradient is not None and gradient.device != output.device):
            raise RuntimeError("no gradient can be taken of this")
    if inputs:
        given = [torch.zeros_like(one) for one in inputs]
        total = sum(output.sum() for output in outputs) * 0 if create else 0
        return tuple(one + total for one in given)
    for leaf in _leaves(outputs):
        leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return ()


@contextlib.contextmanager
def dry_cuda(devices: int = 1) -> Iterator[DryCuda]:
    """Run what is inside as if so many CUDA devices were there."""
    dry = DryCuda()

    def synchronize(device: Any = None) -> None:
        dry.wait("all")
        dry.arrive()

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
        "torch.cuda.is_current_stream_capturing": lambda: False,
        "torch.cuda.empty_cache": lambda: None,
        "torch.cuda.manual_seed": lambda seed: None,
        "torch.cuda.get_rng_state": lambda device=None: None,
        "torch.cuda.set_rng_state": lambda state, device=None: None,
        "torch.cuda.synchronize": synchronize,
        "torch.cuda.Event": lambda *_, **__: DryEvent(dry),
        "torch.Tensor.numpy": lambda tensor, *, force=False: dry.values(tensor),
        "torch.autograd._engine_run_backward": _backward,
    }
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(patch(name, answer))
        stack.enter_context(dry)
        yield dry
