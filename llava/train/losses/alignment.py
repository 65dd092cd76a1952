"""What patches show, in the language model's own words: projected patches near the tokens that name it.

Reading heads are thrown away; what the language model is given must hold the same in a space it can use.

Axis names: pages, patches, roles, most (tokens that name one thing), width (language width), vocab.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from llava.data.page_truth import ROLES
from llava.pages import NONE
from llava.train.losses.loss import PagesLoss, PagesSeen, Part

_SCALE = 12.0
"""Inverse temperature of cosines."""


class AlignmentLoss(PagesLoss):
    """In the head's words as well as in the embedding's: what is looked at can then be said as it is."""

    def __init__(self, _: object) -> None:
        super().__init__()

    def forward(self, seen: PagesSeen) -> Part:
        """The sum over pages, and their number."""
        detail, lavida = seen.pages.dual.detail, seen.lavida
        projected = lavida.get_model().mm_projector(detail)
        vocabularies = lavida.get_input_embeddings().get_parameter("weight"), lavida.model.head_weight
        loss = torch.stack([alignment_loss(projected, seen.truth.names, words) for words in vocabularies]).mean()
        count = torch.tensor(len(detail), device=detail.device)
        return loss * count, count


def alignment_loss(projected: Tensor, names: Tensor, embeddings: Tensor, *, scale: float = _SCALE) -> Tensor:
    """How far patches are from the tokens for what they show: scalar float32, the mean over roles.

    In each role, the mean over the patches that show something of the cross-entropy between its tokens, each alike,
    and its cosines with all tokens that name a patch here in this role. A word that labels the patch's row is
    not the word itself but the word in that role: its embedding with the channels rolled, so that "2" as a row and "2"
    as a column differ (permutation as binding: Kanerva, Hyperdimensional Computing, 2009).

    Args:
        projected: (pages, patches, width) patches in the language model's input space.
        names: (pages, roles, patches, most), as ``PageTruth.names``.
        embeddings: (vocab, width) the language model's own; they learn too.
        scale: the cosines' inverse temperature.
    """
    losses = []
    for role, tokens in zip(ROLES, names.unbind(1), strict=True):
        shown = tokens[..., 0] != NONE
        if not bool(shown.any()):
            continue
        losses.append(naming_loss(projected[shown], tokens[shown], embeddings, role, scale=scale))
    return torch.stack(losses).mean() if losses else projected.sum() * 0


def naming_loss(vectors: Tensor, tokens: Tensor, embeddings: Tensor, role: str, *, scale: float = _SCALE) -> Tensor:
    """The cross-entropy between the tokens of vectors and their cosines in a role, scalar float32.

    Args:
        vectors: (vectors, width), at least one.
        tokens: (vectors, most) int64, those that name each, then ``NONE``; at least one each.
    """
    known = tokens != NONE
    # The tokens that name something here are enough to be told apart, and far fewer than all.
    vocabulary = tokens[known].unique()
    place = torch.searchsorted(vocabulary, tokens).clamp(max=len(vocabulary) - 1)
    scores = (scale * role_cosines(vectors, embeddings[vocabulary], role)).log_softmax(-1)
    said = scores.gather(-1, place).masked_fill(~known, 0)
    return -(said.sum(-1) / known.sum(-1)).mean()


def role_cosines(projected: Tensor, embeddings: Tensor, role: str) -> Tensor:
    """(patches, vocab) float32: of patches (patches, width) with tokens (vocab, width) in a role."""
    shift = ROLES.index(role) * projected.shape[-1] // len(ROLES)
    vocabulary = F.normalize(embeddings.float(), dim=-1).roll(shift, dims=-1)
    # Autocast would round the cosines to 8 bits of mantissa.
    with torch.autocast(projected.device.type, enabled=False):
        return F.normalize(projected.float(), dim=-1) @ vocabulary.T


def share_named(projected: Tensor, names: Tensor, embeddings: Tensor) -> dict[str, float]:
    """Per role, the share of the patches that show something whose nearest token is one for it; NaN where none does.

    Args:
        projected: (patches, width).
        names: (roles, patches, most), as ``PageTruth.names``.
        embeddings: (vocab, width).
    """
    shares = {}
    for role, tokens in zip(ROLES, names, strict=True):
        shown = tokens[:, 0] != NONE
        nearest = role_cosines(projected[shown], embeddings, role).argmax(-1)
        right = (tokens[shown] == nearest[:, None]).any(-1)
        shares[role] = float(right.float().mean())
    return shares
