"""torchvision beside a torch without CUDA, which segmentation-models-pytorch needs to import.

torchvision's wheel is built for CUDA. Beside a CPU-only torch its compiled part does not load, and
then its Python part fails on undeclared operators (pytorch/vision#9085). Declaring their signatures
is enough for U-Nets; the operators themselves have no code and are not called here.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

import torch

from tim3d.errors import MissingExtraError

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# Declarations live as long as this object.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, after declaring its missing operators if necessary.

    Call it before segmentation-models-pytorch is imported.

    Raises
    ------
    MissingExtraError
        If torchvision is not installed.

    Examples
    --------
    >>> import_torchvision().__name__
    'torchvision'
    """
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    _forget_half_imported()
    _declare()
    return _import()


def import_smp() -> ModuleType:
    """Import segmentation-models-pytorch, after a torchvision that it can import."""
    import_torchvision()
    import segmentation_models_pytorch as smp

    module: ModuleType = smp
    return module


@contextlib.contextmanager
def old_names() -> Iterator[None]:
    """Let encoders be built by names that segmentation-models-pytorch calls old, ``timm-NAME``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`timm-` encoders", DeprecationWarning)
        yield


def _import() -> ModuleType:
    try:
        import torchvision
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"networks need {error.name}, which is not installed: pip install 'tim3d[seg]'"
        ) from error
    module: ModuleType = torchvision
    return module


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def _declare() -> None:
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(operator + _SIGNATURE)  # type: ignore[no-untyped-call]
        _declared.append(library)
