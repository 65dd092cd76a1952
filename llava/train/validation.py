"""Answers to held-out samples during training, how many are right, and the loss on them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, TypeVar

import torch
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import ShirgXHandle
from llava.constants import IGNORE_INDEX
from llava.data.batch import Batch, Group, draw_noise, make_batch
from llava.data.conversations import ConversationDataset
from llava.data.page_data import PageDataset
from llava.metrics.match import exact_match
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.train.model import Draws, TrainingModel

ValidationBudget = int | Literal["question"] | None
"""Detail tokens to keep; as many as each question needs; or what the patch chooses."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One held-out question and what the model said."""

    id: str
    kind: str
    """The kind of question of a drawn page; ``held_out_SOURCE`` of a record; empty for other data."""
    right: str
    answer: str

    @property
    def is_right(self) -> bool:
        """Whether it is the right answer up to case and spaces."""
        return exact_match(self.answer, [self.right]) == 1


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Asks all questions of some held-out pages, of held-out records, or of both, at one or more budgets."""

    pages: PageDataset | None = None
    held_out: ConversationDataset | None = None
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
        for source, groups in (*self._of_pages(shard, num_shards), *self._of_records(shard, num_shards)):
            decoding = self.decoding
            if source is not None:
                # A record's answer may be of any length, and is written into as many positions as it was padded to.
                longest = max(int((sample.labels != IGNORE_INDEX).sum()) for group in groups for sample in group)
                decoding = replace(decoding, max_new_tokens=longest)
            for budget in self.budgets:
                for answered in answer_groups(lavida, handle, self.tokenizer, groups, decoding, budget=budget):
                    kind = answered.kind if source is None else f"held_out_{source}"
                    right, asked = counts[budget, kind]
                    counts[budget, kind] = right + answered.is_right, asked + 1
        return dict(counts)

    @torch.no_grad()
    def held_out_losses(
        self, model: TrainingModel, *, shard: int = 0, num_shards: int = 1
    ) -> Mapping[str, tuple[float, int]]:
        """The sum of the denoising loss over the answer tokens of held-out records, and their number, by source.

        Times and masks depend on a sample's name alone, so that one evaluation can be compared with the next. Empty
        where training has no such loss.
        """
        losses: dict[str, tuple[float, int]] = {}
        for source, groups in self._of_records(shard, num_shards):
            batch = make_batch(groups)
            times, noise = draw_noise(batch, "held out")
            budget = self.budgets[0] if isinstance(self.budgets[0], int) else None
            part = model(batch, Draws(times=times, noise=noise, budget=budget)).get("denoising")
            if part is not None:
                total, count = losses.get(source, (0.0, 0))
                losses[source] = total + float(part[0]), count + int(part[1])
        return losses

    def _of_pages(self, shard: int, num_shards: int) -> Iterator[tuple[None, list[Group]]]:
        if self.pages is not None:
            numbers = range(shard, len(self.pages), num_shards)
            for start in range(0, len(numbers), self.batch_pages):
                yield None, [self.pages[number] for number in numbers[start : start + self.batch_pages]]

    def _of_records(self, shard: int, num_shards: int) -> Iterator[tuple[str, list[Group]]]:
        """Batches of usable samples, each of one source."""
        dataset = self.held_out
        if dataset is None:
            return
        usable = [place for place in range(len(dataset)) if place not in dataset.unusable]
        for source, run in groupby(usable[shard::num_shards], key=lambda place: dataset.find(place)[0].source):
            places = list(run)
            for start in range(0, len(places), self.batch_pages):
                yield source, [(dataset[place],) for place in places[start : start + self.batch_pages]]


Key = TypeVar("Key")
Sum = TypeVar("Sum", int, float)


def add_up(shards: Iterable[Mapping[Key, tuple[Sum, int]]]) -> dict[Key, tuple[Sum, int]]:
    """What every process has counted, together."""
    total: dict[Key, tuple[Sum, int]] = {}
    for shard in shards:
        for key, (value, count) in shard.items():
            before, counted = total.get(key, (0, 0))
            total[key] = before + value, counted + count
    return total


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
