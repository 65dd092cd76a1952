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
    """A function of one tensor that is called again and again, started as a single launch from its second call on.

    The first call runs as usual, by which libraries set themselves up; the second is recorded. The tensor is always the
    same one, changed in place by the caller; a result may be overwritten by the next call.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        self._argument: Tensor | None = None
        self._recorded: tuple[torch.cuda.CUDAGraph, Tensor] | None = None

    def __call__(self, argument: Tensor) -> Tensor:
        """The function's result for what the tensor holds now.

        Raises:
            ValueError: if this is not the tensor of the first call, whose address is part of the recording.
        """
        if self._argument is None:
            self._argument = argument
            return self._function(argument)
        if argument is not self._argument:
            raise ValueError("a captured step reads the tensor of its first call; change that one in place")
        if self._recorded is None:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = self._function(argument)
            self._recorded = (graph, result)
        graph, result = self._recorded
        graph.replay()
        return result
