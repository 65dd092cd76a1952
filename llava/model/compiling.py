"""Layers compiled by torch: the same arithmetic in fewer, larger kernels.

Every layer is compiled by itself, and layers of a kind share what is compiled, so that a deep model takes no longer
than a shallow one (https://docs.pytorch.org/tutorials/recipes/regional_compilation.html). Nothing is compiled before it
runs, and torch keeps on disk what it has compiled, for the next process.
"""

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from torch import nn

from llava.model.language_model.lavida import LavidaForMaskedDiffusion

CXX = ("g++", "c++", "clang++")


def compile_layers(
    model: LavidaForMaskedDiffusion, *, backend: str | Callable[..., Any] = "inductor", fullgraph: bool = False
) -> None:
    """Let the layers of the vision tower and of the language model be compiled when they run for the first time.

    The model and the names of its tensors stay as they are. Rounding differs in the last bits: a compiled kernel keeps
    in registers what would be rounded between two.

    Args:
        backend: of ``torch.compile``.
        fullgraph: refuse what would not be compiled in one piece. Without, layers that meet more kinds of batches than
            torch keeps apart run those as they are written.

    Raises:
        ValueError: if this machine lacks what compiling needs.
    """
    if backend == "inductor":
        _check_compiler(model.device.type)
    for layer in _layers(model):
        layer.compile(fullgraph=fullgraph, dynamic=True, backend=backend)


def forget_compiled(model: LavidaForMaskedDiffusion) -> None:
    """Run all layers as they are written again."""
    for layer in _layers(model):
        layer._compiled_call_impl = None


def _layers(model: LavidaForMaskedDiffusion) -> Iterator[nn.Module]:
    tower = model.get_vision_tower()
    yield from tower.transformer.encoder.layers[: tower.num_layers_run]
    yield from model.get_model().blocks


def _check_compiler(device: str) -> None:
    if device == "cpu" and not any(map(shutil.which, CXX)):
        raise ValueError("compiling for a CPU needs a C++ compiler, and there is none; install g++ or leave it out")
    if device == "cuda" and find_spec("triton") is None:
        raise ValueError("compiling for a GPU needs triton, which is not installed; install it or leave it out")
