"""The kernels that torch.compile makes of the flux solver's formulas, compiled for an H100 that is not there.

The formulas are traced on tensors without values, torch's inductor writes Triton kernels of them, and Triton and its
assembler turn these into machine code for sm_90. Nothing is loaded or run.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import triton
from torch._dynamo.device_interface import CudaInterface
from torch._guards import TracingContext, tracing
from torch._inductor import async_compile, compile_fx, config
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.runtime import triton_helpers
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._pytree import tree_flatten, tree_unflatten
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tests.dry_cuda import dry_cuda
from tests.stencils import KERNELS, Volume
from tim3d.models.conduction import stencil
from tim3d.models.conduction.device import Device

H100 = SimpleNamespace(
    name="H100", major=9, minor=0, multi_processor_count=132, regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048, max_threads_per_block=1024, warp_size=32, is_integrated=0,
    shared_memory_per_block_optin=232448, L2_cache_size=50 * 2**20, total_memory=80 * 2**30, gcnArchName="",
)  # fmt: skip
TARGET = GPUTarget("cuda", 90, 32)
Formula = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Called:
    """A formula, and the layouts of its arguments: shapes, strides, types, and plain values."""

    formula: Formula
    layouts: tuple[Any, ...]
    structure: Any


@dataclass(frozen=True)
class Kernel:
    """Machine code of a kernel, and what the assembler read."""

    name: str
    cubin: bytes
    ptx: str


class NoDriver:
    """What inductor asks Triton's driver before any kernel runs."""

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)


class Traced(FakeTensorMode):
    """Tensors without values on a device whose driver is not asked."""

    avoid_device_init = True


def formulas() -> list[Called]:
    """Every formula that `Device(fused=True)` gives to torch.compile, as the kernels of a small volume call it."""
    found: dict[tuple[str, str], Called] = {}

    def note(formula: Formula) -> Formula:
        def called(*arguments: Any) -> torch.Tensor:
            flat, structure = tree_flatten(arguments)
            layouts = tuple(
                (tuple(one.shape), one.stride(), one.dtype) if isinstance(one, FakeTensor) else one
                for one in flat
            )
            found[formula.__name__, str(layouts)] = Called(formula, layouts, structure)
            return formula(*arguments)

        return called

    volume = Volume((9, 7, 8), (1, 1, 1), 4)
    with patch.object(stencil, "_compiled", note), dry_cuda():
        device = Device("cuda", fused=True)
        for name in KERNELS:
            count, arguments = volume.call(name)
            mine = [device.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
            device.run(getattr(stencil, name), range(1, count + 1), 0, *mine)
    return list(found.values())


def compiled(called: Called, folder: Path) -> list[Kernel]:
    """Kernels of a formula."""
    sources: list[str] = []

    def keep(self: Any, name: str, source: str, device_str: str = "cuda") -> Any:
        sources.append(source)
        return SimpleNamespace()

    with _as_if_there(), patch.object(async_compile.AsyncCompile, "triton", keep):
        mode = Traced(shape_env=ShapeEnv())
        with mode:
            flat = [_placed(layout) for layout in called.layouts]

            def function(*flat: Any) -> list[torch.Tensor]:
                return [called.formula(*tree_unflatten(list(flat), called.structure))]

            graph = make_fx(function, decomposition_table=select_decomp_table())(*flat)
        with tracing(TracingContext(mode)), mode:
            compile_fx.compile_fx_inner(graph, flat)
        return [_assembled(source, folder / f"{n}.py") for n, source in enumerate(sources)]


def _placed(layout: Any) -> Any:
    if not isinstance(layout, tuple):
        return layout
    shape, strides, dtype = layout
    return torch.empty_strided(shape, strides, dtype=dtype, device="cuda")


def _assembled(source: str, file: Path) -> Kernel:
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.object(triton_helpers, "set_driver_to_gpu", lambda: None):
        spec.loader.exec_module(module)
    (made,) = (one for one in vars(module).values() if hasattr(one, "triton_meta"))
    meta, chosen = made.triton_meta, made.configs[0]
    parts = ASTSource(
        made.fn,
        signature=meta["signature"],
        constexprs={**meta["constants"], **chosen.kwargs},
        attrs=meta["configs"][0],
    )
    how = {"num_warps": chosen.num_warps, "num_stages": chosen.num_stages}
    machine = triton.compile(parts, target=TARGET, options=how).asm
    return Kernel(made.fn.__name__, machine["cubin"], machine["ptx"])


@contextlib.contextmanager
def _as_if_there() -> Iterator[None]:
    """Answers of a driver to torch, inductor and Triton."""
    answers: dict[str, Any] = {
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.is_initialized": lambda: True,
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.device": lambda device: contextlib.nullcontext(),
        "torch.cuda.get_device_properties": lambda device=None: H100,
        "torch.cuda.get_device_capability": lambda device=None: (9, 0),
        "torch.cuda.is_bf16_supported": lambda including_emulation=True: True,
        "torch.cuda.get_rng_state": lambda device=None: torch.zeros(1),
        "torch.cuda.set_rng_state": lambda state, device=None: None,
        "torch.cuda.synchronize": lambda device=None: None,
    }
    interface: dict[str, Any] = {
        "get_device_properties": lambda device=None: H100,
        "get_compute_capability": lambda device=None: 90,
        "current_device": lambda: 0,
    }
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(patch(name, answer))
        for name, answer in interface.items():
            stack.enter_context(patch.object(CudaInterface, name, staticmethod(answer)))
        stack.enter_context(patch.object(triton.runtime.driver, "_active", NoDriver()))
        stack.enter_context(config.patch(compile_threads=1, fx_graph_cache=False))
        yield
