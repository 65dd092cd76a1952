"""A captured step: when its work runs, and when its recording."""

import torch

from llava.model.language_model.diffusion.cuda_graph import CapturedStep
from tests.model.taped_graph import tape_graphs


def test_the_first_time_runs_the_second_records_and_all_others_replay(monkeypatch):
    made, runs = tape_graphs(monkeypatch), []
    total, added = torch.zeros(5), torch.arange(5.0)
    step = CapturedStep()

    def add() -> torch.Tensor:
        runs.append(1)
        return total.add_(added).sum()

    expected = torch.zeros(5)
    for call in range(1, 5):
        added += 1
        expected += added
        assert float(step(add)) == float(expected.sum())
        assert torch.equal(total, expected)
        assert len(runs) == min(call, 2)
        assert [graph.replays for graph in made] == [call - 1] * (call > 1)
