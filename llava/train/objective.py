"""LaViDa's training objective: predict masked answer tokens, every sample seen with a mask and with its complement.

Masked diffusion as in LLaDA (arXiv 2502.09992), complementary masking as in LaViDa (arXiv 2505.16839, section 3.2): the
two copies of a sample together train every answer token.

Axis names: batch (samples), length (positions after splicing), vocab.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from llava.constants import IGNORE_INDEX
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion
from llava.model.splice import PromptEmbeds

LEAST_PROBABILITY = 0.001


@dataclass(frozen=True, kw_only=True)
class DiffusionLoss:
    """The loss and how many tokens it averages over."""

    loss: Tensor
    """Scalar float32: mean cross-entropy over the masked answer tokens of both copies."""
    num_masked: Tensor
    """(2,) int64: masked tokens of the first copies and of their complements."""


def draw_masks(labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Positions to mask, (batch, length) bool on labeled positions only.

    Every sample draws t uniformly from [0, 1] and masks each of its answer tokens with probability 0.999 t + 0.001.
    """
    time = torch.rand(len(labels), 1, device=labels.device, generator=generator)
    probability = (1 - LEAST_PROBABILITY) * time + LEAST_PROBABILITY
    noise = torch.rand(labels.shape, device=labels.device, generator=generator)
    return (noise < probability) & (labels != IGNORE_INDEX)


def masked_diffusion_loss(
    model: LlavaLladaForMaskedDiffusion, batch: PromptEmbeds, masked: Tensor, *, mask_id: int | None = None
) -> DiffusionLoss:
    """LaViDa's loss for given masks; attention is full over prompt and answer, and padding is seen by nobody.

    The masked positions are gathered before the vocabulary head: logits of every position are what exhausts memory.

    Args:
        batch: embedded prompts with answers, and their labels.
        masked: (batch, length) bool; unlabeled positions in it are ignored.

    Raises:
        ValueError: if the batch has no labels.
    """
    if batch.labels is None or bool((batch.labels == IGNORE_INDEX).all()):
        raise ValueError("the batch has no labeled position to learn from; label the answer")
    labeled = batch.labels != IGNORE_INDEX
    copies = torch.cat([masked & labeled, ~masked & labeled])
    token = torch.tensor([model.config.mask_token_id if mask_id is None else mask_id], device=batch.embeds.device)
    mask_embedding = model.model.embed_tokens(token).to(batch.embeds.dtype)
    embeds = torch.where(copies[..., None], mask_embedding, batch.embeds.repeat(2, 1, 1))
    attention = batch.attention_mask
    hidden = model.model(embeds, None if attention is None else attention.repeat(2, 1))
    logits = model.model.compute_logits(hidden[copies])
    loss = F.cross_entropy(logits.float(), batch.labels.repeat(2, 1)[copies])
    return DiffusionLoss(loss=loss, num_masked=torch.stack([half.sum() for half in copies.chunk(2)]))
