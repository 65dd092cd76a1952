"""Questions look at the page: each of their words at the patches that show it, and answers at those words.

Axis names: images, words (of a question), tokens (detail tokens of an image), rows and positions.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llava.constants import IGNORE_INDEX
from llava.data.page_truth import ROLES
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.splice import image_places
from llava.pages import NONE
from llava.train.losses.looking import check_own_places, looking_loss
from llava.train.losses.loss import AnswersLoss, AnswersSeen, LossSetup, Part
from shirg.transfer import to_device

_WORD = ROLES.index("word")


class GroundingLoss(AnswersLoss):
    """Words look at what they name; answers look at those words, to learn what is asked for."""

    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.layers, self.heads = setup.options.grounding_layers, setup.options.grounding_heads

    def watched(self) -> tuple[int, ...]:
        return self.layers

    def check(self, lavida: LavidaForMaskedDiffusion) -> None:
        check_own_places(lavida, "grounding")
        layers, heads = len(lavida.model.blocks), lavida.config.num_attention_heads
        if not all(0 <= layer < layers for layer in self.layers):
            raise ValueError(
                f"losses: grounding_layers must lie from 0 to {layers - 1} in this model, got {self.layers}"
            )
        if self.heads > heads:
            raise ValueError(f"losses: grounding_heads must be at most {heads}, got {self.heads}")

    def forward(self, seen: AnswersSeen) -> Part:
        """The sum over words of questions and masked tokens of answers, and their number."""
        targets = grounding_targets(seen)
        return looking_loss(
            [seen.inputs[layer] for layer in self.layers],
            torch.ones_like(seen.copies.masked),
            targets,
            heads=self.heads,
        )


def grounding_targets(seen: AnswersSeen) -> Tensor:
    """(rows, asking, positions) bool: what words of questions name, and for masked tokens of answers those words."""
    batch, at, copies = seen.batch, seen.places, seen.copies
    questions = [_behind_image(batch.prompts[sample], batch.labels[sample]) for sample in batch.sample_index]
    asked = to_device(pad_sequence(questions, batch_first=True, padding_value=NONE - 1), at.kept.device)
    # (images, tokens, most): the tokens of the word over each patch that was kept.
    shown = seen.pages.truth.names[at.images, _WORD]
    shown = shown.gather(1, at.kept[..., None].expand(-1, -1, shown.shape[-1]))
    names = (asked[:, :, None, None] == shown[:, None]).any(-1)
    # Behind the image's tokens; padding stands outside of the row.
    word = at.ends[:, None] + torch.arange(asked.shape[1], device=asked.device)
    word = torch.where(asked >= 0, word, at.width)
    targets = names.new_zeros(len(batch.ids), at.width + 1, at.width + 1)
    targets[at.samples[:, None, None], word[..., None], at.detail[:, None]] = names
    targets = targets[:, :-1, :-1]
    naming = targets.any(2)
    rows = copies.samples
    return targets[rows] | (copies.masked[..., None] & naming[rows][:, None])


def _behind_image(ids: Tensor, labels: Tensor) -> Tensor:
    """The unlabeled ids behind the image of a prompt: its question."""
    behind = image_places(ids)[0] + 1
    return ids[behind:][labels[behind:] == IGNORE_INDEX]
