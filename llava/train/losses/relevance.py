"""Three teachers of the ``learned`` relevance: where the answer is, where the language model looks, what noise hurts.

Selection itself passes no gradient, so each teacher asks the relevance anew. None shows it anything but the page and
the question: the answer decides what is right, never what is seen.

Axis names: batch (images), patches (raster order), dim (vision width).
"""

from operator import attrgetter

import torch
import torch.nn.functional as F
from torch import Tensor

from llava.data.batch import Batch
from llava.train.losses.looking import tokens_under
from shirg.sources.source import INVERSE_TEMPERATURE


def relevance_loss(relevance: Tensor, wanted: Tensor, *, scale: float = INVERSE_TEMPERATURE) -> tuple[Tensor, Tensor]:
    """Cross-entropy between what should be relevant and the softmax of the relevance.

    Returns its sum over images of which anything is wanted, float32, and their number.

    Args:
        relevance: (batch, patches) cosines from [-1, 1].
        wanted: (batch, patches), not negative, of any sum: the attention that answer positions pay to patches, or the
            places of what the answer is read from. No gradient flows into it.
        scale: the cosines' inverse temperature.
    """
    total = wanted.detach().float().sum(-1, keepdim=True)
    seen = total[:, 0] > 0
    wanted = wanted.detach().float() / total.clamp(min=torch.finfo(torch.float32).tiny)
    losses = -(wanted * (scale * relevance).log_softmax(-1)).sum(-1)
    return losses.sum(), seen.sum()


def noise_gate(features: Tensor, relevance: Tensor, noise: Tensor, *, keep: int, sharpness: float = 20.0) -> Tensor:
    """All detail tokens, each drowned in noise as far as its relevance lies below the ``keep``-th highest.

    Token i becomes sqrt(g) x + sqrt(1 - g) n with g = sigmoid(sharpness (r_i - r_keep)) and noise of the features' own
    mean and spread per image, so that no statistic but the content changes and the denoising loss alone teaches the
    relevance which tokens it needs (AutoSelect, arXiv 2603.07135, in its variance-preserving form).

    Args:
        features: (batch, patches, dim).
        noise: (batch, patches, dim), standard normal.

    Raises:
        ValueError: if ``keep`` is not between 1 and the number of patches.
    """
    if not 1 <= keep <= relevance.shape[1]:
        raise ValueError(f"keep must be from 1 to {relevance.shape[1]} patches, got {keep}")
    relevance = relevance.float()
    edge = relevance.detach().topk(keep, dim=1).values[:, -1:]
    logit = (sharpness * (relevance - edge))[..., None]
    # The roots of g and 1 - g by their logarithms: a root's own slope is infinite where a gate is wholly shut or open.
    signal, drowned = ((0.5 * F.logsigmoid(side)).exp().to(features.dtype) for side in (logit, -logit))
    center = features.mean(1, keepdim=True).detach()
    spread = features.std(1, keepdim=True).detach()
    return center + signal * (features - center) + drowned * spread * noise.to(features.dtype)


def relevant_patches(batch: Batch, boxes: Tensor) -> Tensor:
    """(images, patches) float32: where to look, half of it at the answer, half at what the question names.

    Args:
        boxes: (images, patches, 4), one row for each image of every sample.
    """
    return outcomes_wanted(batch, boxes).mean(-1)


def outcomes_wanted(batch: Batch, boxes: Tensor) -> Tensor:
    """(images, patches, 2) float32: what is read out as the answer, and what the question names, each of sum 1 (or 0
    where there is none), in the order of ``shirg.sources.matched.OUTCOMES``."""
    kinds = []
    for boxes_of in (attrgetter("answer_boxes"), attrgetter("evidence")):
        questions = [batch.page_questions[sample] for sample in batch.sample_index]
        under = tokens_under(boxes, [() if question is None else boxes_of(question) for question in questions]).float()
        kinds.append(under / under.sum(1, keepdim=True).clamp(min=1))
    return torch.stack(kinds, dim=-1)
