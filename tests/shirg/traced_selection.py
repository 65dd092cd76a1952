"""Selection as one traced graph beside selection as it is written, for several settings; run by its test.

In a process of its own: the checks of shapes that tests put around every function of ``shirg`` cannot be traced.
"""

from dataclasses import replace

import torch

from shirg.config import ShirgXConfig
from shirg.profiling import StageTimer
from shirg.scaffold import dual_scale
from shirg.shirg_selector import select_alike

ROWS, COLUMNS, BUDGETS = 12, 24, [29, 41]
SETTINGS = ({}, {"min_per_cell": 1, "neighbor": "mean"}, {"merge": False, "ink_first": False})


def main() -> None:
    """Raises for a break in the graph, and for another choice."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    noise = torch.randn(2, 5, ROWS, COLUMNS)
    # Neighbors that are alike, so that some merge.
    smooth = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)
    dual = dual_scale(smooth.flatten(2).transpose(1, 2), [(ROWS, COLUMNS)] * 2, (3, 3))
    dual = replace(dual, inked=torch.rand(2, ROWS * COLUMNS) > 0.4)
    similarity, keep = torch.rand(2, ROWS * COLUMNS), torch.tensor(BUDGETS)
    timer = StageTimer("cpu", enabled=False)
    for changes in SETTINGS:
        config = ShirgXConfig(similarity="projected", **changes).for_grid(12)
        torch._dynamo.reset()
        traced = torch.compile(select_alike, fullgraph=True, backend="eager")
        (tokens, selection), (expected, decided) = (
            function(dual, similarity, keep, config, BUDGETS, timer) for function in (traced, select_alike)
        )
        for name in ("features", "boxes", "areas"):
            assert torch.equal(getattr(tokens, name), getattr(expected, name)), (changes, name)
        for name in ("assignment", "kept"):
            assert torch.equal(getattr(selection, name), getattr(decided, name)), (changes, name)
        assert tokens.lengths == tuple(BUDGETS)
        folded = int((decided.assignment != torch.arange(ROWS * COLUMNS)).sum())
        assert (folded > 0) == config.merge, "without merges this shows less"


if __name__ == "__main__":
    main()
