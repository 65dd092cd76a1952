"""A captured step: when the function runs and when its recording; ``test_generate`` has what a GPU makes of it."""

from contextlib import contextmanager

import pytest
import torch

from llava.model.language_model.diffusion.cuda_graph import CapturedStep


class Doubling:
    """A function that counts its runs, and CUDA graphs that compute it anew where a GPU would replay its kernels."""

    def __init__(self, monkeypatch):
        self.runs = self.replays = 0
        doubling = self

        class Graph:
            def replay(self):
                doubling.replays += 1
                self.result.copy_(2 * self.argument)

        @contextmanager
        def recording(graph):
            yield
            graph.argument, graph.result = doubling.last

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", recording)

    def __call__(self, argument):
        self.runs += 1
        self.last = argument, torch.empty_like(argument)
        return self.last[1] if self.runs == 2 else 2 * argument


def test_the_first_call_runs_the_second_records_and_all_others_replay(monkeypatch):
    function = Doubling(monkeypatch)
    step, tensor = CapturedStep(function), torch.arange(5)
    for call in range(1, 5):
        tensor += 1
        assert torch.equal(step(tensor), 2 * tensor)
        assert (function.runs, function.replays) == (min(call, 2), call - 1)


def test_another_tensor_is_refused(monkeypatch):
    step, tensor = CapturedStep(Doubling(monkeypatch)), torch.arange(5)
    step(tensor)
    with pytest.raises(ValueError, match="change that one in place"):
        step(tensor.clone())
