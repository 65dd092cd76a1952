"""Say what is looked at: attention's value path of the language model, taught on every token of a drawn page.

A small model soon looks at the right patches and for long does not say what it sees: what attention passes on has to
survive in the head's words, and answers alone teach that one word at a time. Here every selected patch is asked what
each head would write of it into the residual stream, and that must be the word for what the patch shows: head 0 its
word or first character, head 1 its second and head 2 its third character. Short numbers and codes are printed in fewer
patches than they have characters, so the head decides which of them is said, and an answer's position which head looks.

That copying heads are an attention pattern and a value path apart is from Elhage et al., A Mathematical Framework for
Transformer Circuits (2021).

Axis names: tokens (selected patches of all rows), words (of ``WordTable``), rows and positions (as in ``TwoCopies``).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from llava.constants import IGNORE_INDEX
from llava.model.language_model.llada.modeling_llada import LLaDABlock
from llava.train.losses.reading import alignment_cosines

SPOKEN = ("figure", "second", "third")
"""The role that each head says."""


def speaking_loss(
    block: LLaDABlock, hidden: Tensor, words: Mapping[str, Tensor], vocabulary: Tensor, *, scale: float = 12.0
) -> tuple[Tensor, Tensor]:
    """How far what each head passes on is from the words for what a token shows.

    Returns the sum of cross-entropies over heads and the tokens that show something for them, float32, and their count.

    Args:
        hidden: (tokens, dim) what the layer is given at the tokens.
        words: per role of ``SPOKEN`` (tokens, words), distributions or zeros.
        vocabulary: (words, dim) the head's rows for these words.
        scale: the cosines' inverse temperature.
    """
    values = block.v_proj(block.attn_norm(hidden)).unflatten(-1, (block.num_heads, -1))
    total, count = hidden.new_zeros((), dtype=torch.float32), torch.zeros((), dtype=torch.int64, device=hidden.device)
    for head, role in enumerate(SPOKEN[: block.num_heads]):
        named = words[role].sum(-1) > 0
        alone = torch.zeros_like(values)
        alone[:, head] = values[:, head]
        said = block.attn_out(alone.flatten(1))[named]
        scores = scale * alignment_cosines(said, vocabulary)
        total = total - (words[role][named] * scores.log_softmax(-1)).sum()
        count = count + named.sum()
    return total, count


class WordPlaces(nn.Module):
    """Where in its word a token of an answer stands, which decides the head that should look for it."""

    begins: Tensor
    """(vocab,) bool: the token starts a word."""
    blank: Tensor
    """(vocab,) bool: the token is nothing but space, as in front of digits."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        self.register_buffer("begins", torch.tensor([text.startswith(" ") for text in texts]), persistent=False)
        self.register_buffer("blank", torch.tensor([text.isspace() for text in texts]), persistent=False)

    def forward(self, labels: Tensor, content: Tensor) -> Tensor:
        """(rows, positions) int64 from 0 to len(SPOKEN) - 1, -1 where no head is asked.

        The first token behind an answer has a place, too: whoever ends a number must look whether a digit is left.

        Args:
            labels: (rows, positions) int64.
            content: (rows, positions) bool: answer tokens that say something.
        """
        known = labels.clamp(min=0, max=len(self.begins) - 1)
        blank = content & self.blank[known]
        content = content & ~blank
        behind = F.pad(content, (1, 0))[:, :-1]
        places = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
        starts = content & (~behind | self.begins[known])
        place = places - torch.where(starts, places, 0).cummax(1).values
        asked = (content | (behind & (labels != IGNORE_INDEX))) & ~blank & (place < len(SPOKEN))
        return torch.where(asked, place, -1)
