"""torchvision as a reference, also beside a torch of another build; tests that ask for it are skipped where it lacks.

It is no requirement. The version that belongs to torch 2.13.0 is 0.28.0, whose wheel is built for CUDA: next to a torch
for the CPU its operators do not load, and the import fails because one of them is not even declared. Declared by hand
it makes models, data sets and transforms work; only calling the operators does not.
"""

import importlib
import sys
import warnings
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch

_OPERATORS = ("nms", "qnms")
_DECLARED: list[torch.library.Library] = []
"""What is declared lives as long as the library object."""


def load() -> Any:
    """The package torchvision; where it cannot be had, the test that asks is skipped and says why."""
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    return importlib.import_module("torchvision")


@lru_cache
def obstacle() -> str:
    """Makes torchvision importable, and says what prevents it, if anything does.

    Some packages import it as soon as they find it, and fail with it; those come after this call.
    """
    if find_spec("torchvision") is None:
        return "torchvision is not installed: pip install --no-deps torchvision==0.28.0 (for torch 2.13.0)"
    failure = _failure()
    if failure and "operator torchvision::nms does not exist" in failure:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(library)
        failure = _failure()
    return failure and f"torchvision does not fit this torch: {failure}"


def _failure() -> str:
    """What the import fails with, if it does."""
    with warnings.catch_warnings():
        # It warns of extensions for files that do not load either.
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("torchvision")
        except (ImportError, RuntimeError) as error:
            return str(error)
    return ""
