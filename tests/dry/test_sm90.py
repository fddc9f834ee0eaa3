"""The fused formulas of the flux solver become machine code of an H100 without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
pytest.importorskip("triton", reason="Triton comes with the CUDA build of torch")
if torch.version.cuda is None:
    pytest.skip(
        "this torch is a build for the CPU; type: make -B EXTRAS=gpu,test setup",
        allow_module_level=True,
    )

from tests.dry import sm90  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1200)]


def test_every_fused_formula_compiles_for_an_h100(tmp_path: Path) -> None:
    names = set()
    for number, called in enumerate(sm90.formulas()):
        folder = tmp_path / str(number)
        folder.mkdir()
        kernels = sm90.compiled(called, folder)
        assert kernels, called.formula.__name__
        for kernel in kernels:
            assert kernel.cubin.startswith(b"\x7fELF")
            assert ".target sm_90" in kernel.ptx
            print(called.formula.__name__, kernel.name, len(kernel.cubin), "bytes")
        names.add(called.formula.__name__)
    assert names == {
        "_relaxed_codes", "_relaxed_faces", "_rest_codes", "_rest_faces", "_dissipated", "_rising", "_gain",
    }  # fmt: skip
