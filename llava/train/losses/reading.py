"""Dense losses on drawn pages: what every patch shows, said by the vision tower and in the words of the language model.

A small tower that only learns from answers stays at chance for long; asked what is under every patch, it reads within
minutes. ``ReadingHeads`` are linear and thrown away after training. The alignment loss asks the projected patch for the
tokens that name what it shows, so that the language model finds words where it looks.

Axis names: batch (pages), patches (raster order), dim (vision width), width (language width), vocab.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from llava.data.page_truth import NAMES, ROLES, PatchTargets
from llava.pages import NONE, SHAPES, plural

NOTHING_WEIGHT = 0.1
"""Weight of patches that show nothing of a kind: most of a page is paper."""


class ReadingHeads(nn.Module):
    """One linear classifier of patches per kind of thing; the last class is nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.heads = nn.ModuleDict({name: nn.Linear(dim, len(classes) + 1) for name, classes in NAMES.items()})

    def forward(self, patches: Tensor) -> dict[str, Tensor]:
        """Logits (batch, patches, classes + 1) of vision features (batch, patches, dim)."""
        normed = self.norm(patches)
        return {name: head(normed) for name, head in self.heads.items()}


def reading_loss(logits: Mapping[str, Tensor], targets: PatchTargets) -> Tensor:
    """The cross-entropy of naming every patch: (batch,) float32, each page's own mean over kinds.

    Patches that show nothing of a kind weigh little, as most of a page is paper.
    """
    losses = []
    for name, scores in logits.items():
        target = targets[name].to(scores.device)
        shown = target != NONE
        classes = torch.where(shown, target, scores.shape[-1] - 1)
        flat = F.cross_entropy(scores.flatten(0, 1).float(), classes.flatten(), reduction="none")
        each = flat.view_as(classes)  # classes last: a transposed table takes thrice as long on a CPU
        weight = torch.where(shown, 1.0, NOTHING_WEIGHT)
        losses.append((each * weight).sum(1) / weight.sum(1))
    return torch.stack(losses).mean(0)


class WordTable(nn.Module):
    """Which tokens name a class: a distribution over the naming tokens for every class of every kind.

    A word counts in the form it has at the start of an answer, in the form it has behind a space, there in lower case
    too and, if it is a shape, in the plural, as far as each is one token; a class that no single token names has no
    target.
    """

    tokens: Tensor
    """(words,) int64, ascending: every token that names a class."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        named = {name: [_single_tokens(word, tokenizer) for word in classes] for name, classes in NAMES.items()}
        tokens = sorted({token for classes in named.values() for forms in classes for token in forms})
        self.register_buffer("tokens", torch.tensor(tokens), persistent=False)
        for name, classes in named.items():
            table = torch.zeros(len(classes) + 1, len(tokens))
            for index, forms in enumerate(classes):
                table[index, [tokens.index(token) for token in forms]] = 1 / max(1, len(forms))
            self.register_buffer(name, table, persistent=False)

    def forward(self, targets: PatchTargets) -> dict[str, Tensor]:
        """Per role (batch, patches, words) float32: the words for what a patch shows, summing to 1, or zeros."""
        words = {}
        for role, names in ROLES.items():
            total = torch.stack([getattr(self, name)[targets[name]] for name in names]).sum(0)
            words[role] = total / total.sum(-1, keepdim=True).clamp(min=1)
        return words


def _single_tokens(word: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    forms = [word, f" {word}", *([f" {plural(word)}"] if word in SHAPES else [])]
    if len(word) > 1:
        forms.append(f" {word.lower()}")
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in forms]
    return sorted({form[0] for form in ids if len(form) == 1})


def alignment_loss(
    projected: Tensor, words: Mapping[str, Tensor], embeddings: Tensor, *, scale: float = 12.0
) -> Tensor:
    """How far patches are from the words for what they show: (batch,) float32, the mean over roles.

    In each role, the mean over the patches that show something of the cross-entropy between its words and the cosines
    of the patch with all words. A word that labels the patch's row is not the word itself but the word in that role:
    its embedding with the channels rolled, so that "2" as a row and "2" as a column differ (permutation as
    binding: Kanerva, Hyperdimensional Computing, 2009).

    Args:
        projected: (batch, patches, width) patches in the language model's input space.
        words: per role (batch, patches, words) as ``WordTable`` gives them.
        embeddings: (words, width) of the same words, the language model's own; they learn too.
        scale: the cosines' inverse temperature.
    """
    total = torch.zeros(len(projected), device=projected.device)
    for role, named_words in words.items():
        named = named_words.sum(-1) > 0
        logits = scale * alignment_cosines(projected[named], embeddings, role)
        each = torch.zeros(named.shape, device=projected.device)
        each[named] = -(named_words[named] * logits.log_softmax(-1)).sum(-1)
        total = total + each.sum(1) / named.sum(1).clamp(min=1)
    return total / len(words)


def share_named(projected: Tensor, words: Mapping[str, Tensor], embeddings: Tensor) -> dict[str, Tensor]:
    """Per role, the share of the patches that show something whose nearest word is one for it; NaN where none does.

    Arguments as of ``alignment_loss``.
    """
    shares = {}
    for role, named_words in words.items():
        named = named_words.sum(-1) > 0
        nearest = alignment_cosines(projected[named], embeddings, role).argmax(-1, keepdim=True)
        shares[role] = (named_words[named].gather(-1, nearest) > 0).float().mean()
    return shares


def alignment_cosines(projected: Tensor, embeddings: Tensor, role: str = "figure") -> Tensor:
    """(patches, words) float32: of patches (patches, width) with words (words, width) in a role."""
    shift = list(ROLES).index(role) * projected.shape[-1] // len(ROLES)
    vocabulary = F.normalize(embeddings.float(), dim=-1).roll(shift, dims=-1)
    # Autocast would round the cosines to 8 bits of mantissa.
    with torch.autocast(projected.device.type, enabled=False):
        return F.normalize(projected.float(), dim=-1) @ vocabulary.T
