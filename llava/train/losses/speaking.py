"""Say what is looked at: attention's value path of the language model, taught on every token of a drawn page.

A small model soon looks at the right patches and for long does not say what it sees: what attention passes on has to
survive in the head's words, and answers alone teach that one word at a time. Here every selected patch is asked what
each head would write of it into the residual stream: head 0 the character in the patch's first slot, head 1 that in the
second, and so on.

That copying heads are an attention pattern and a value path apart is from Elhage et al., A Mathematical Framework for
Transformer Circuits (2021).

Axis names: tokens (selected patches of all images), vocab.
"""

import torch
from torch import Tensor

from llava.data.page_truth import SLOT_ROLES
from llava.data.print_targets import SLOTS
from llava.model.language_model.transformer import TransformerBlock
from llava.pages import NONE
from llava.train.losses.alignment import role_cosines
from llava.train.losses.loss import AnswersLoss, AnswersSeen, LossSetup, Part


class SpeakingLoss(AnswersLoss):
    """Asked of the layers whose attention points."""

    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.layers = setup.options.pointing_layers

    def watched(self) -> tuple[int, ...]:
        return self.layers

    def forward(self, seen: AnswersSeen) -> Part:
        """The sum over layers, heads and tokens that show something for them, and the number of these."""
        at = seen.places
        rows, tokens = at.real
        samples, places = at.samples[rows], at.detail[rows, tokens]
        named = seen.pages.truth.names[at.images[rows], : len(SLOT_ROLES), at.kept[rows, tokens], 0]
        head = seen.pages.lavida.model.head_weight
        said = [
            speaking_loss(given.block, given.hidden[samples, places], named, head)
            for given in (seen.inputs[layer] for layer in self.layers)
        ]
        totals, counts = zip(*said, strict=True)
        return torch.stack(totals).sum(), torch.stack(counts).sum()


def speaking_loss(
    block: TransformerBlock, hidden: Tensor, named: Tensor, vocabulary: Tensor, *, scale: float = 12.0
) -> tuple[Tensor, Tensor]:
    """How far what each head passes on is from the characters that a token shows.

    Returns the sum of cross-entropies over heads and the tokens that show something for them, float32, and their count.

    Args:
        hidden: (tokens, dim) what the layer is given at the tokens.
        named: (tokens, SLOTS) the character in each slot, as a token of the vocabulary, or ``NONE``.
        vocabulary: (vocab, dim) the head's rows; characters are told from those that are shown here.
        scale: the cosines' inverse temperature.
    """
    values = block.projections.value(block.attention_norm(hidden)).unflatten(-1, (block.num_groups, -1))
    values = block.per_head(values, dim=1)
    total, count = hidden.new_zeros((), dtype=torch.float32), torch.zeros((), dtype=torch.int64, device=hidden.device)
    for head in range(min(SLOTS, block.num_heads)):
        shown = named[:, head] != NONE
        alone = torch.zeros_like(values)
        alone[:, head] = values[:, head]
        said = block.projections.output(alone.flatten(1))[shown]
        tokens, place = named[shown, head].unique(return_inverse=True)
        scores = (scale * role_cosines(said, vocabulary[tokens], SLOT_ROLES[0])).log_softmax(-1)
        total = total - scores.gather(-1, place[:, None]).sum()
        count = count + shown.sum()
    return total, count
