"""A denoising step as one launch.

At batch 1 a GPU runs the kernels of a step faster than a host can start them one by one; a CUDA graph records them once
and starts them all together (https://docs.pytorch.org/docs/stable/generated/torch.cuda.graph.html).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from llava.model.language_model.backbone import Backbone


def check_capturable(model: Backbone) -> None:
    """Refuse a model whose step cannot be recorded.

    Raises:
        ValueError: if its weights do not all lie on one CUDA device.
    """
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    if len(devices) > 1 or not devices[0].startswith("cuda"):
        raise ValueError(
            f"cuda_graph needs the language model on one CUDA device, but it lies on {', '.join(devices)}; "
            "leave cuda_graph off or move the model"
        )


class CapturedStep:
    """Work that is done again and again on the same tensors, started as a single launch from its second time on.

    The first time runs as usual, by which libraries set themselves up; the second is recorded. Everything that changes
    from one time to the next must stand in tensors that stay where they are; a result is overwritten by the next time.
    """

    def __init__(self) -> None:
        self._warm = False
        self._recorded: tuple[torch.cuda.CUDAGraph, Tensor] | None = None

    def __call__(self, function: Callable[[], Tensor]) -> Tensor:
        """What the function gives for what its tensors hold now; it is called the first two times only."""
        if not self._warm:
            self._warm = True
            return function()
        if self._recorded is None:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = function()
            self._recorded = (graph, result)
        graph, result = self._recorded
        graph.replay()
        return result
