"""One training sample, and how a conversation becomes one: prompt ids, labels and the question of the last turn.

Axis names: positions (ids of one prompt with its answer; -200 stands for an image).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from llava.constants import DEFAULT_IMAGE_TOKEN, IGNORE_INDEX
from llava.conversation import Conversation, conv_templates
from llava.data.infill import Gap, open_gap
from llava.data.page_truth import PageTruth
from llava.data.records import Turn
from llava.mm_utils import tokenizer_image_token
from llava.pages import PageQuestion
from llava.question import Question


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A prompt with its answer, its images, and what a drawn page knows about itself."""

    id: str
    """Names the sample in the whole mixture; its noise is drawn from this."""
    input_ids: Tensor
    """(positions,) int64."""
    labels: Tensor
    """(positions,) int64; ``IGNORE_INDEX`` everywhere but on the answer and its end-of-text padding."""
    views: tuple[Tensor, ...] = ()
    """Per image (views, 3, side, side) float32, as ``process_images`` makes them."""
    patches: Tensor | None = None
    """(patches, dim) what a frozen tower has seen of the one image, in place of its views."""
    inked: Tensor | None = None
    """(patches,) bool: which of these show more than paper."""
    image_sizes: tuple[tuple[int, int], ...] = ()
    """(width, height) of each image."""
    question: Question | None = None
    """The last user turn, for question-conditioned selection; it never holds any of the answer."""
    truth: PageTruth | None = None
    """What the drawn page behind the image knows, for losses on what its patches show."""
    page_question: PageQuestion | None = None
    pointers: Tensor | None = None
    """(answer tokens, 4) int32: the patch and the slot that each is read from, twice where there are two places to read
    it; -1 for what stands nowhere. None for answers that are not read off as they are."""
    skipped: tuple[str, ...] = ()
    """Why records before this one could not be read; this sample takes their place."""

    @property
    def num_images(self) -> int:
        """Images in the prompt."""
        return len(self.views) if self.patches is None else 1


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A conversation as ids; the fields are those of ``Sample``."""

    input_ids: Tensor
    labels: Tensor
    question: Question | None
    """None when the last user turn holds nothing but images."""


def encode_conversation(
    turns: Sequence[Turn],
    tokenizer: PreTrainedTokenizerBase,
    *,
    answer_block: int = 32,
    extra_blocks: int = 0,
    gap: Gap | None = None,
    spelled: bool = False,
    template: Conversation = conv_templates["llada"],
) -> Encoded:
    """Ids and labels of a conversation whose last turn is the answer to learn; earlier answers are history.

    The answer, its end of turn and end-of-text up to the next multiple of ``answer_block`` carry labels, as in LaViDa:
    the model learns where answers end. ``extra_blocks`` adds so many blocks of end-of-text (LaViDa's random extra).

    Args:
        gap: opened in the answer.
        template: of the model that is to learn it: ``model.config.conversation``.
        spelled: give each character of the answer a token of its own, so that it can be read off a page as it stands.

    Raises:
        ValueError: if the turns do not alternate from a user to an assistant, or a number of blocks is out of range.
    """
    roles = [role for role, _ in turns]
    if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
        raise ValueError(f"a conversation must alternate user and assistant and end with an answer, got {roles}")
    if answer_block < 1 or extra_blocks < 0:
        raise ValueError(
            f"answer_block must be positive and extra_blocks not negative, got {answer_block}, {extra_blocks}"
        )
    conversation = template.copy()
    for role, text in turns[:-1]:
        conversation.append_message(role, text)
    conversation.append_message("assistant", None)
    prompt = tokenizer_image_token(conversation.get_prompt(), tokenizer)
    words = turns[-1][1].strip()
    answer = spell(words, tokenizer) if spelled else tokenizer(words, add_special_tokens=False).input_ids
    answer = [*answer, *tokenizer(template.turn_end, add_special_tokens=False).input_ids]
    if gap is not None:
        answer = open_gap(answer, gap, pad_id=tokenizer.eos_token_id)
    padding = -len(answer) % answer_block + extra_blocks * answer_block
    target = [*answer, *[tokenizer.eos_token_id] * padding]
    text = turns[-2][1].replace(DEFAULT_IMAGE_TOKEN, "").strip()
    return Encoded(
        input_ids=torch.tensor([*prompt, *target]),
        labels=torch.tensor([IGNORE_INDEX] * len(prompt) + target),
        question=Question.from_text(text, tokenizer) if text else None,
    )


def spell(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of a text character by character; one without a token of its own has several."""
    return [token for character in text for token in tokenizer(character, add_special_tokens=False).input_ids]
