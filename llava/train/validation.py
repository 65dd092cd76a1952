"""Answers to held-out samples during training, and how many are right."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import ShirgXHandle
from llava.constants import IGNORE_INDEX
from llava.data.batch import Batch, Group, make_batch
from llava.data.page_data import PageDataset
from llava.metrics.match import exact_match
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.lavida import LavidaForMaskedDiffusion

ValidationBudget = int | Literal["question"] | None
"""Detail tokens to keep; as many as each question needs; or what the patch chooses."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One held-out question and what the model said."""

    id: str
    kind: str
    """The kind of question of a drawn page; empty for other data."""
    right: str
    answer: str

    @property
    def is_right(self) -> bool:
        """Whether it is the right answer up to case and spaces."""
        return exact_match(self.answer, [self.right]) == 1


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Asks all questions of some held-out pages, at one or more budgets."""

    pages: PageDataset
    tokenizer: PreTrainedTokenizerBase
    decoding: DecodingConfig
    budgets: tuple[ValidationBudget, ...] = (None,)
    """Detail tokens to keep; None leaves the choice to the patch."""
    batch_pages: int = 16

    def count_right(
        self,
        lavida: LavidaForMaskedDiffusion,
        handle: ShirgXHandle | None,
        *,
        shard: int = 0,
        num_shards: int = 1,
    ) -> Mapping[tuple[ValidationBudget, str], tuple[int, int]]:
        """Right answers and questions, by (budget, kind); each of ``num_shards`` processes asks its own pages."""
        counts: dict[tuple[ValidationBudget, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
        numbers = range(shard, len(self.pages), num_shards)
        for start in range(0, len(numbers), self.batch_pages):
            groups = [self.pages[number] for number in numbers[start : start + self.batch_pages]]
            for budget in self.budgets:
                for answered in answer_groups(lavida, handle, self.tokenizer, groups, self.decoding, budget=budget):
                    right, asked = counts[budget, answered.kind]
                    counts[budget, answered.kind] = right + answered.is_right, asked + 1
        return dict(counts)


@torch.no_grad()
def answer_groups(
    lavida: LavidaForMaskedDiffusion,
    handle: ShirgXHandle | None,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Group],
    decoding: DecodingConfig,
    *,
    budget: ValidationBudget = None,
) -> list[Answered]:
    """The model's answers to all samples of some groups, denoised in one batch.

    Args:
        budget: detail tokens to keep; the patch's own choice when not given.
    """
    batch = make_batch(groups)
    prompts = [ids[labels == IGNORE_INDEX] for ids, labels in zip(batch.prompts, batch.labels, strict=True)]
    prepared = lavida.splice(prompts, _sequences(lavida, handle, batch, budget))
    tokens = lavida.denoise(prepared, decoding).tokens
    answered = []
    for row, name, labels, asked in zip(tokens.tolist(), batch.ids, batch.labels, batch.page_questions, strict=True):
        answered.append(
            Answered(
                id=name,
                kind="" if asked is None else asked.kind,
                right=_text(labels[labels != IGNORE_INDEX].tolist(), lavida, tokenizer),
                answer=_text(row, lavida, tokenizer),
            )
        )
    return answered


def _sequences(
    lavida: LavidaForMaskedDiffusion, handle: ShirgXHandle | None, batch: Batch, budget: ValidationBudget
) -> list[torch.Tensor]:
    if not batch.views:
        return []
    if handle is None or handle.config.mode == "stock":
        encoded = lavida.encode_images(batch.views, batch.image_sizes)
        return [encoded[place] for place in batch.image_index]
    pages = handle.encode_pages(batch.views, batch.image_sizes)
    return handle.select_tokens(pages.gather(batch.image_index, budget), batch.questions).sequences


def _text(ids: list[int], lavida: LavidaForMaskedDiffusion, tokenizer: PreTrainedTokenizerBase) -> str:
    end = lavida.config.eot_token_id
    kept = ids[: ids.index(end)] if end in ids else ids
    return str(tokenizer.decode(kept, skip_special_tokens=True)).strip()
