"""CUDA graphs for tests without a GPU: a recording of operators, done again on the very same tensors.

What a graph cannot hold, a number read by the host or a shape that depends on one, fails while it is recorded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
FROM_HOST = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)


class TapedGraph:
    """In the place of ``torch.cuda.CUDAGraph``."""

    made: list["TapedGraph"]

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple, dict, Any]] = []
        self.replays = 0
        self.made.append(self)

    def replay(self) -> None:
        self.replays += 1
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            for kept, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(kept, Tensor) and kept.data_ptr() != new.data_ptr():
                    kept.copy_(new)


class _Recording(TorchDispatchMode):
    def __init__(self, graph: TapedGraph) -> None:
        super().__init__()
        self.graph = graph
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(tag in func.tags for tag in WAITS), f"{func} waits for the device"
        assert func not in FROM_HOST, f"{func} brings numbers from the host"
        kwargs = kwargs or {}
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write and place < len(args):
                self.before.append((args[place], args[place].clone()))
        result = func(*args, **kwargs)
        self.graph.calls.append((func, args, kwargs, result))
        return result


@contextmanager
def _recording(graph: TapedGraph) -> Iterator[None]:
    with _Recording(graph) as recording:
        yield
    # A GPU does nothing of what it records.
    for tensor, before in reversed(recording.before):
        tensor.copy_(before)


def tape_graphs(monkeypatch: pytest.MonkeyPatch) -> list[TapedGraph]:
    """Put it in the place of CUDA's; gives all graphs that are made from now on."""
    made: list[TapedGraph] = []
    monkeypatch.setattr(TapedGraph, "made", made, raising=False)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", TapedGraph)
    monkeypatch.setattr(torch.cuda, "graph", _recording)
    return made
