"""The budget loss: a head that sees the page alone learns the smallest budget that would have done.

Axis names: images, draws (of noise), budgets (ascending).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lavida_shirg_integration import ShirgXHandle
from llava.train.losses.loss import PagesSeen
from llava.train.losses.relevance import relevant_patches
from shirg.shirg_selector import select
from shirg.survival import surviving_patches
from shirg.transfer import to_device

LEAST_DRAWS = 4


def budget_labels(losses: Tensor, *, slack: float = 0.02) -> Tensor:
    """(images,) int64: index of the smallest budget that will do, by losses averaged over noise draws.

    Args:
        losses: (draws, images, budgets) float32, the denoising loss measured with the same noise at each budget.
        slack: a budget will do when its loss is within this share of the best budget's.

    Raises:
        ValueError: if there are fewer than 4 draws: single draws differ by more than the budgets do.
    """
    if losses.shape[0] < LEAST_DRAWS:
        raise ValueError(f"a budget is measured over at least {LEAST_DRAWS} noise draws, got {losses.shape[0]}")
    mean = losses.float().mean(0)
    enough = mean <= mean.amin(-1, keepdim=True) * (1 + slack)
    return enough.int().argmax(-1)


def evidence_labels(kept: Tensor, *, slack: float = 0.02) -> Tensor:
    """(images,) int64: index of the smallest budget that will do, by what of the evidence it keeps.

    Args:
        kept: (images, budgets) float32, as ``evidence_kept``.
        slack: a budget will do when it keeps the evidence of all but this share of the best budget's questions.
    """
    enough = kept >= kept.amax(-1, keepdim=True) * (1 - slack)
    return enough.int().argmax(-1)


@torch.no_grad()
def evidence_kept(handle: ShirgXHandle, seen: PagesSeen) -> tuple[Tensor, Tensor]:
    """The share of each page's questions whose evidence survives in full at each budget: (images, budgets) float32.

    The evidence are the inked patches under the answer and under what the question names. No language model runs.

    Also returns which images have questions with evidence: (images,) bool.
    """
    batch, budgets, rows = seen.batch, handle.config.budgets, seen.rows(None)
    dual, counts = rows.dual, rows.candidate_counts
    owner = to_device(torch.tensor(batch.image_index, dtype=torch.long), dual.detail.device)
    wanted = relevant_patches(batch, dual.boxes) > 0
    if dual.inked is not None:
        wanted &= dual.inked
    asked, similarity = wanted.any(1), handle.similarity(rows, batch.questions)
    kept = torch.zeros(len(seen.pages.dual.grids), len(budgets), device=dual.detail.device)
    for place, budget in enumerate(budgets):
        fits = [min(budget, count) for count in counts]
        tokens, _ = select(dual, similarity, handle.config, fits, candidate_counts=counts)
        whole = (surviving_patches(dual, tokens) | ~wanted).all(1)
        kept[:, place].index_add_(0, owner, (asked & whole).float())
    questions = torch.zeros_like(kept[:, 0]).index_add(0, owner, asked.float())
    return kept / questions.clamp(min=1)[:, None], questions > 0


def budget_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropies (images,) float32 of the head's logits (images, budgets) with measured labels (images,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none")
