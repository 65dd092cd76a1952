"""LaViDa's training objective: predict masked answer tokens, every sample seen with a mask and with its complement.

Masked diffusion as in LLaDA (arXiv 2502.09992), complementary masking as in LaViDa (arXiv 2505.16839, section 3.2): the
two copies of a sample together train every answer token.

Axis names: batch (samples), length (positions after splicing), answer (positions of the longest answer), vocab.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from llava.constants import IGNORE_INDEX
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.splice import PromptEmbeds
from shirg.transfer import to_device

LEAST_PROBABILITY = 0.001


@dataclass(frozen=True, kw_only=True)
class DiffusionLoss:
    """The loss and how many tokens it averages over."""

    loss: Tensor
    """Scalar float32: mean cross-entropy over the masked answer tokens of both copies."""
    sample_sums: Tensor
    """(batch,) float32: the same cross-entropies summed for each sample; they add up to ``loss`` times the count."""
    num_masked: Tensor
    """(2,) int64: masked tokens of the first copies and of their complements."""


@dataclass(frozen=True, kw_only=True)
class TwoCopies:
    """What the language model is given: both noisy copies, laid out for one pass.

    Either the copies follow each other along the batch (full attention), or along the length behind the prefix that
    they share (``prefix_lm``).
    """

    embeds: Tensor
    """(rows, positions, dim)"""
    attention_mask: Tensor | None
    """(rows, positions) or (rows, positions, positions) bool, True where a key may be seen."""
    position_ids: Tensor | None
    """(rows, positions) rotary positions; None where they count from the row's start."""
    masked: Tensor
    """(rows, positions) bool: where a token was masked and is to be predicted."""
    second: Tensor
    """(rows, positions) bool: what belongs to the second copy, the complement."""
    labels: Tensor
    """(rows, positions) int64: the true tokens."""
    samples: Tensor
    """(rows,) int64: which sample a row holds."""
    sources: Tensor
    """(rows, positions) int64: the position from whose hidden state the backbone reads the token of each."""

    @property
    def asking(self) -> Tensor:
        """(rows, positions) bool: positions from whose hidden states masked tokens are read."""
        asked = torch.zeros(self.masked.shape, dtype=torch.int32, device=self.masked.device)
        return asked.scatter_add(1, self.sources, self.masked.int()) > 0


def draw_masks(labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Positions to mask, (batch, length) bool on labeled positions only.

    Every sample draws t uniformly from [0, 1] and masks each of its answer tokens with probability 0.999 t + 0.001.
    """
    time = torch.rand(len(labels), 1, device=labels.device, generator=generator)
    noise = torch.rand(labels.shape, device=labels.device, generator=generator)
    return (noise < mask_probability(time)) & (labels != IGNORE_INDEX)


def mask_probability(time: Tensor) -> Tensor:
    """The probability that a token is masked at a diffusion time from [0, 1]."""
    return (1 - LEAST_PROBABILITY) * time + LEAST_PROBABILITY


def masked_diffusion_loss(
    model: LavidaForMaskedDiffusion,
    batch: PromptEmbeds,
    masked: Tensor,
    *,
    mask_id: int | None = None,
    prefix_lm: bool = False,
    probabilities: Tensor | None = None,
) -> DiffusionLoss:
    """LaViDa's loss for given masks; padding is seen by nobody.

    The masked positions are gathered before the vocabulary head: logits of every position are what exhausts memory.

    Args:
        batch: embedded prompts with answers, and their labels.
        masked: (batch, length) bool; unlabeled positions in it are ignored.
        prefix_lm: hide the answer from the prompt, as decoding with a prefix cache does; attention is full otherwise,
            as released weights were trained. The prompt then runs once for both copies.
        probabilities: (batch,) mask probabilities p; given, every token weighs 1/p (LLaDA, arXiv 2502.09992, equation
            3), in the complement 1/(1 - p), halved because there are two copies.

    Raises:
        ValueError: if the batch has no labels, or ``prefix_lm`` is asked for where text follows an answer.
    """
    copies = two_copies(model, batch, masked, mask_id=mask_id, prefix_lm=prefix_lm)
    hidden = model.model(copies.embeds, copies.attention_mask, copies.position_ids)
    return diffusion_loss(model, copies, hidden, num_samples=len(masked), probabilities=probabilities)


def two_copies(
    model: LavidaForMaskedDiffusion,
    batch: PromptEmbeds,
    masked: Tensor,
    *,
    mask_id: int | None = None,
    prefix_lm: bool = False,
) -> TwoCopies:
    """Both noisy copies of a batch; arguments and errors as in ``masked_diffusion_loss``."""
    if batch.labels is None or bool((batch.labels == IGNORE_INDEX).all()):
        raise ValueError("the batch has no labeled position to learn from; label the answer")
    token = torch.tensor([model.config.mask_token_id if mask_id is None else mask_id], device=batch.embeds.device)
    masks = model.model.embed_tokens(token).to(batch.embeds.dtype)[None]
    lay_out = _copies_behind_prefix if prefix_lm else _copies_along_batch
    labels = batch.labels
    labeled = labels != IGNORE_INDEX
    told = model.model.place_embeddings(labeled.shape[1])
    if told is not None:
        added = (told[answer_places(labeled)] * labeled[..., None]).to(batch.embeds.dtype)
        batch, masks = replace(batch, embeds=batch.embeds + added), masks + added
    return lay_out(batch, labels, masked & labeled, masks, model.model.reading)


def answer_places(labeled: Tensor) -> Tensor:
    """(rows, positions) int64: of each labeled position, how many of the same answer stand before it; else 0."""
    count = labeled.cumsum(1)
    before = torch.where(labeled, 0, count).cummax(1).values
    return (count - before - 1).clamp(min=0)


def diffusion_loss(
    model: LavidaForMaskedDiffusion,
    copies: TwoCopies,
    hidden: Tensor,
    *,
    num_samples: int,
    probabilities: Tensor | None = None,
) -> DiffusionLoss:
    """The loss from final hidden states (rows, positions, dim) of both copies."""
    rows, places = copies.masked.nonzero(as_tuple=True)
    losses = F.cross_entropy(
        model.model.compute_logits(hidden[rows, copies.sources[rows, places]]).float(),
        copies.labels[rows, places],
        reduction="none",
    )
    samples = copies.samples[rows]
    second = copies.second[rows, places]
    if probabilities is not None:
        chosen = torch.where(second, 1 - probabilities[samples], probabilities[samples])
        losses = losses / (2 * chosen.clamp(min=LEAST_PROBABILITY))
    sums = torch.zeros(num_samples, device=losses.device).index_add(0, samples, losses)
    return DiffusionLoss(
        loss=losses.sum() / len(losses),
        sample_sums=sums,
        num_masked=torch.stack([(~second).sum(), second.sum()]),
    )


Reading = Callable[..., Tensor]
"""``Backbone.reading``."""


def _copies_along_batch(
    batch: PromptEmbeds, labels: Tensor, masked: Tensor, masks: Tensor, reading: Reading
) -> TwoCopies:
    both = torch.cat([masked, ~masked & (labels != IGNORE_INDEX)])
    places = torch.arange(labels.shape[1], device=labels.device)[:, None]
    attention = batch.attention_mask
    return TwoCopies(
        embeds=torch.where(
            both[..., None], masks.expand(len(labels), -1, -1).repeat(2, 1, 1), batch.embeds.repeat(2, 1, 1)
        ),
        attention_mask=None if attention is None else attention.repeat(2, 1),
        position_ids=None,
        masked=both,
        second=torch.arange(len(both), device=labels.device)[:, None].expand(both.shape) >= len(labels),
        labels=labels.repeat(2, 1),
        samples=torch.arange(len(labels), device=labels.device).repeat(2),
        sources=reading(places, 0, len(places))[:, 0].expand(both.shape),
    )


def _copies_behind_prefix(
    batch: PromptEmbeds, labels: Tensor, masked: Tensor, masks: Tensor, reading: Reading
) -> TwoCopies:
    """[prefix | first copy | second copy] in each row; both copies sit at the same rotary positions."""
    device = labels.device
    labeled = labels != IGNORE_INDEX
    # How many are labeled in each row and where the first is, in one wait for the device.
    answers, begins = torch.stack([labeled.sum(1), labeled.byte().argmax(1)]).tolist()
    prefixes = [length - answer for length, answer in zip(batch.lengths, answers, strict=True)]
    if any(answer and begin != prefix for answer, begin, prefix in zip(answers, begins, prefixes, strict=True)):
        raise ValueError("prefix_lm needs the labeled answer at the end of every sample; text follows it here")
    prefix, width = max(prefixes), max(answers)
    lengths = to_device(torch.tensor(prefixes), device)[:, None]
    places = torch.arange(width, device=device)
    real = places < to_device(torch.tensor(answers), device)[:, None]
    source = (lengths + places).clamp(max=labels.shape[1] - 1)
    index = source[..., None].expand(-1, -1, batch.embeds.shape[2])
    answer = batch.embeds.gather(1, index).masked_fill(~real[..., None], 0)
    masks = masks.expand(batch.embeds.shape).gather(1, index)
    answer_labels = labels.gather(1, source).masked_fill(~real, IGNORE_INDEX)
    first = masked.gather(1, source) & real
    second = ~first & real
    prefix_places = torch.arange(prefix, device=device)
    segment = to_device(torch.arange(3).repeat_interleave(torch.tensor([prefix, width, width])), device)
    allowed = (segment[None] == 0) | (segment[:, None] == segment[None])
    seen = torch.cat([prefix_places < lengths, real, real], dim=1)
    nothing = torch.zeros(len(labels), prefix, dtype=torch.bool, device=device)
    padding = torch.full((len(labels), prefix), IGNORE_INDEX, device=device)
    noisy = [torch.where(copy[..., None], masks, answer) for copy in (first, second)]
    # Both answers follow the same last position of their prompt.
    sources = [
        reading((prefix + skipped + places).expand(len(labels), -1)[..., None], 0, width, lengths - 1)[..., 0]
        for skipped in (0, width)
    ]
    return TwoCopies(
        embeds=torch.cat([batch.embeds[:, :prefix], *noisy], dim=1),
        attention_mask=allowed[None] & seen[:, None],
        position_ids=torch.cat([prefix_places.expand(len(labels), -1), *[lengths + places] * 2], dim=1),
        masked=torch.cat([nothing, first, second], dim=1),
        second=(segment == 2).expand(len(labels), -1),
        labels=torch.cat([padding, answer_labels, answer_labels], dim=1),
        samples=torch.arange(len(labels), device=device),
        sources=torch.cat([prefix_places.expand(len(labels), -1), *sources], dim=1),
    )
