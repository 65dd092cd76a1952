"""Patches against the question's words where the vision tower has gathered words: what matches needs no learning.

A relevance that maps patches and words to a space of its own has to learn first that like matches like. Here patches
come with vectors in the space of the language model's words (``WordGathering``), so cosines are the match, and only
what follows from a match is learned: which words of a question count, and what patch is read out when its row is named.
"""

import math

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor, nn
from torch.nn import functional

from shirg.sources.inputs import NEVER
from shirg.tokens import GATHERED

OUTCOMES = ("answer", "evidence")
"""What a patch may be for a question: read out, or needed to find what is."""
_GAIN = 4.0
"""Brings cosines and their sums to the spread that the layers behind expect."""


class MatchedRelevance(nn.Module):
    """Each patch's matches with the question's words, weighed, and what kind of patch it is, told by a small network.

    A word's gate says how much it counts as a name of the patch, its row or its column ("What is the ..." counts
    nothing). Gated cosines are summed over words, since labels are spelled in several pieces; the highest of them, and
    the distance of the sum to the page's best, tell a match from a sum of many small likenesses.
    """

    def __init__(self, vision_dim: int, word_dim: int, dim: int = 128, heads: int = 1) -> None:
        """``dim`` is the width of the network; ``heads`` is of no use here.

        Raises:
            ValueError: if patches of ``vision_dim`` channels do not end in what is gathered.
        """
        super().__init__()
        own = vision_dim - len(GATHERED) * word_dim
        if own < 1:
            raise ValueError(
                f"patches of {vision_dim} channels hold no {len(GATHERED)} gathered words of {word_dim} behind others"
            )
        self.word_dim = word_dim
        kinds = len(GATHERED)
        self.gate = nn.Sequential(nn.Linear(word_dim, 64), nn.GELU(), nn.Linear(64, kinds))
        self.matches = nn.Linear(3 * kinds, dim)
        self.asked = nn.Linear(word_dim, dim, bias=False)
        self.shown = nn.Linear(own, dim, bias=False)
        self.outcomes = nn.Linear(dim, len(OUTCOMES))
        self.telling = OutcomeEmbedding(word_dim)

    def forward(
        self,
        patches: Float[Tensor, "batch patches vision"],
        words: Float[Tensor, "batch words word"],
        word_mask: Bool[Tensor, "batch words"],
    ) -> Float32[Tensor, "batch patches"]:
        """Relevance as an unnormalized logarithm, float32: of being one outcome or another."""
        return self.by_outcome(patches, words, word_mask).logsumexp(-1)

    def by_outcome(
        self,
        patches: Float[Tensor, "batch patches vision"],
        words: Float[Tensor, "batch words word"],
        word_mask: Bool[Tensor, "batch words"],
    ) -> Float32[Tensor, "batch patches 2"]:
        """The relevance for each of ``OUTCOMES``."""
        with torch.autocast(patches.device.type, enabled=False):
            return self._by_outcome(patches.float(), words.float(), word_mask)

    def _by_outcome(self, patches: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        kinds = len(GATHERED)
        # Rows of pages with fewer patches end in zeros, which must not count as a page's best.
        real = (patches != 0).any(-1)
        own, gathered = patches.split([patches.shape[-1] - kinds * self.word_dim, kinds * self.word_dim], dim=-1)
        named = functional.normalize(gathered.unflatten(-1, (kinds, -1)), dim=-1).transpose(1, 2)
        cosines = named @ functional.normalize(words, dim=-1).transpose(1, 2)[:, None]
        spread = functional.layer_norm(words, words.shape[-1:])
        gates = _float(self.gate, spread).sigmoid().transpose(1, 2) * word_mask[:, None]
        gated = cosines * gates[:, :, None]
        total, highest = gated.sum(-1), gated.masked_fill(~word_mask[:, None, None], -1.0).amax(-1)
        best = total.masked_fill(~real[:, None], -math.inf).amax(-1, keepdim=True)
        matches = torch.cat([total, highest, total - best], dim=1).transpose(1, 2)
        count = word_mask.sum(1, keepdim=True).clamp(min=1)
        question = (spread * word_mask[..., None]).sum(1) / count
        hidden = (
            _float(self.matches, _GAIN * matches)
            + _float(self.asked, question)[:, None]
            + _float(self.shown, functional.layer_norm(own, own.shape[-1:]))
        )
        return _float(self.outcomes, functional.gelu(hidden)).masked_fill(~real[..., None], NEVER)


def _float(module: nn.Module, inputs: Tensor) -> Tensor:
    """The module's output in float32, whatever the dtype of its weights."""
    if isinstance(module, nn.Sequential):
        for part in module:
            inputs = _float(part, inputs)
        return inputs
    if isinstance(module, nn.Linear):
        bias = None if module.bias is None else module.bias.float()
        return functional.linear(inputs, module.weight.float(), bias)
    return module(inputs)


class OutcomeEmbedding(nn.Module):
    """Tells the language model what every token is relevant for; adds nothing until it is trained.

    What tokens were chosen by has been looked up already: a language model that is told need not find it again. Beside
    how far a token lies below the best, it is told the token's place in a run of patches that look like the answer,
    counted from both ends, since the first characters of an answer stand in the first of these.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * len(OUTCOMES) + 2 * REACH + 1, width, bias=False)
        nn.init.zeros_(self.embed.weight)

    def forward(
        self,
        relevance: Float32[Tensor, "batch patches 2"],
        kept: Int[Tensor, "batch tokens"],
        candidates: Bool[Tensor, "batch patches"],
    ) -> Tensor:
        """(batch, tokens, width) in the dtype of the weights.

        Args:
            relevance: of all patches, by outcome.
            kept: the patch that each token is, or was folded into; -1 for padding.
            candidates: False where there is nothing to choose; the best is never one of these.
        """
        relevance = relevance.masked_fill(~candidates[..., None], NEVER)
        below = relevance - relevance.amax(1, keepdim=True)
        sure = relevance[..., :1].log_softmax(1).amax(1, keepdim=True).expand(-1, relevance.shape[1], -1)
        likely = (2.0 * (below[..., 0] + _LIKELY)).sigmoid()
        ends = [_hats(run_lengths(likely)), _hats(run_lengths(likely.flip(1)).flip(1))]
        told = torch.cat([below.exp(), below.clamp(min=-_FAR) / _FAR, *ends, sure / _GAIN], dim=-1)
        told = told.gather(1, kept.clamp(min=0)[..., None].expand(-1, -1, told.shape[-1]))
        return self.embed(told.to(self.embed.weight.dtype))


def run_lengths(likely: Float32[Tensor, "batch patches"]) -> Float32[Tensor, "batch patches"]:
    """How many patches stand in a row, up to and with each one, that are likely (1); at most ``REACH``.

    Shares count as what is left of the run: p + p q + p q r and so on, to the left in raster order.
    """
    windows = functional.pad(likely, (REACH - 1, 0)).unfold(1, REACH, 1)
    return windows.flip(-1).cumprod(-1).sum(-1)


def _hats(counts: Tensor) -> Tensor:
    """Counts spread over the whole numbers from 1 to ``REACH``: each is 1 at its own and fades to its neighbors."""
    numbers = torch.arange(1, REACH + 1, device=counts.device)
    return (1.0 - (counts[..., None] - numbers).abs()).clamp(min=0.0)


REACH = 14
"""Patches up to which places in an answer are told apart; three characters each, that is a long line."""
_FAR = 12.0
"""Logarithm below the best at which a patch has nothing to do with the question."""
_LIKELY = 2.5
"""Logarithm below the best at which a patch is as likely a part of the answer as not."""
