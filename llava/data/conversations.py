"""Samples to train on from records: one for each answer of each conversation, with the turns before it as its history.

What a record's file can tell is checked before the first step by ``ConversationDataset.check``. What only an image
tells may come up at any time: such a sample is reported, the next good one takes its place and says so in
``Sample.skipped``.
"""

import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from llava.constants import DEFAULT_IMAGE_TOKEN, IGNORE_INDEX
from llava.conversation import conv_templates
from llava.data.infill import WHOLE, InfillConfig, draw_gap
from llava.data.records import Record, RecordStore
from llava.data.sample import Encoded, Sample, encode_conversation
from llava.image_processor import SigLipImageProcessor
from llava.mm_utils import ViewConfig, process_images
from llava.model.anyres import stock_tokens
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.splice import count_images
from llava.seeds import stable_seed
from shirg.config import ShirgXConfig
from shirg.tiling import Size

logger = logging.getLogger(__name__)

ImageTokens = Callable[[Size], int]
"""How many positions of a prompt an image of (width, height) pixels takes."""


@dataclass(frozen=True, kw_only=True)
class ConversationConfig:
    """How conversations become samples.

    Raises:
        ValueError: if a number is out of range.
    """

    max_sequence_length: int = 4096
    """Positions of the model's context, for prompt, images and answer together."""
    answer_block: int = 32
    """Answers are filled with end-of-text to a multiple of this."""
    max_extra_blocks: int = 0
    """LaViDa's random extra: up to so many more blocks of end-of-text, drawn for each sample, where there is room."""
    infill: InfillConfig = WHOLE
    """Gaps opened in answers, closed by ``infill_id``."""
    infill_id: int | None = None
    seed: int = 0
    """Decides the random extra and the gaps, together with the sample's id."""
    require_question: bool = False
    """Skip samples whose question is an image alone; selection by the question refuses them."""
    template: str = "llada"

    def __post_init__(self) -> None:
        for name, least in (("max_sequence_length", 1), ("answer_block", 1), ("max_extra_blocks", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.template not in conv_templates:
            raise ValueError(f"template {self.template!r} does not exist; use one of {', '.join(conv_templates)}")


class BadSampleError(ValueError):
    """Why one sample cannot be used; ``kind`` is what such reasons are counted under."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What ``ConversationDataset.check`` found."""

    num_samples: int
    """Good and bad ones; a bad record counts as one."""
    num_bad: int
    faults: Mapping[str, int]
    """Bad samples by kind: ``bad record``, ``missing image``, ``no question``, ``too long``."""
    examples: tuple[str, ...]
    """The first bad samples with their reasons."""

    def __str__(self) -> str:
        counts = ", ".join(f"{kind}: {count}" for kind, count in self.faults.items())
        return f"{self.num_bad} of {self.num_samples} samples cannot be used" + (f" ({counts})" if counts else "")


class ConversationDataset(Dataset[Sample]):
    """One sample for each answer of each record, in the records' order, named ``<record id>#<turn>``.

    Indexing reads and prepares the images. A record or an image that cannot be used is logged once by each process, and
    the next good sample takes its place, the same in every epoch and on every machine.

    Args:
        records: from ``read_mixture`` or ``read_real_set``.
        model_config: the model's, which decides the views; after ``apply_shirg_x`` if it is to be applied.
        image_tokens: from ``image_token_counter``.

    Raises:
        ValueError: when indexed, if no sample at all can be used.
    """

    def __init__(
        self,
        records: RecordStore,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: SigLipImageProcessor,
        model_config: ViewConfig,
        *,
        image_tokens: ImageTokens,
        config: ConversationConfig | None = None,
    ) -> None:
        self.records, self.tokenizer, self.image_processor = records, tokenizer, image_processor
        self.model_config, self.image_tokens = model_config, image_tokens
        self.config = config or ConversationConfig()
        # A bad record keeps a place of its own, where it is found, reported and replaced like any other bad sample.
        places = np.maximum(np.asarray(records.num_answers, dtype=np.int64), 1)
        self._record = np.repeat(np.arange(len(places)), places)
        self._turn = np.arange(len(self._record)) - np.repeat(places.cumsum() - places, places)
        self._reported: set[str] = set()

    def __len__(self) -> int:
        return len(self._record)

    def __getitem__(self, index: int) -> Sample:
        start = range(len(self))[operator.index(index)]
        skipped: list[str] = []
        for offset in range(len(self)):
            record, turn = self._find((start + offset) % len(self))
            try:
                return self._sample(record, turn, tuple(skipped))
            except BadSampleError as error:
                skipped.append(f"{sample_id(record, turn)}: {error}")
                self._report(record, skipped[-1])
        raise ValueError(f"none of the {len(self)} samples can be used; the first one: {skipped[0]}")

    @property
    def lengths(self) -> list[int]:
        """Rough numbers of tokens, to group samples by: four bytes of text to a token, every image taken for square."""
        lengths = []
        image = self.image_tokens((1, 1))
        for record in self.records:
            total = 0
            for (_, question), (_, answer) in zip(record.turns[::2], record.turns[1::2], strict=True):
                total += len((question + answer).encode()) // 4 + question.count(DEFAULT_IMAGE_TOKEN) * image
                lengths.append(total)
            if not record.turns:
                lengths.append(0)
        return lengths

    def check(self, *, strict: bool = False, num_examples: int = 5) -> CheckReport:
        """What the records' files alone tell of bad samples: no image is opened, only looked for.

        Texts that are short for certain are not tokenized (a byte-level tokenizer makes no more tokens than bytes), so
        half a million captions take less than a minute. A text that is too long only together with its images is found
        when they are read.

        Raises:
            ValueError: if nothing usable remains, if an answer alone exceeds the context, or, when ``strict``, if any
                sample is bad.
        """
        faults: Counter[str] = Counter()
        examples: list[str] = []
        for name, error in self._find_faults():
            faults[error.kind] += 1
            if len(examples) < num_examples:
                examples.append(f"{name}: {error}")
        report = CheckReport(
            num_samples=len(self), num_bad=faults.total(), faults=dict(faults), examples=tuple(examples)
        )
        if faults and (strict or report.num_bad == len(self)):
            raise ValueError(f"{report}; the first: {' | '.join(examples)}")
        return report

    def _find_faults(self) -> Iterator[tuple[str, BadSampleError]]:
        for record in self.records:
            short = self._is_short(record)
            for turn in range(max(1, len(record.turns) // 2)):
                try:
                    _check_usable(record, turn, self.config)
                    if not short:
                        self._check_text(record, turn)
                    missing = self.records.missing_images(record, _count_placeholders(record, turn))
                    if missing:
                        raise BadSampleError("missing image", f"there is no image {missing[0]}")
                except BadSampleError as error:
                    yield sample_id(record, turn), error

    def _find(self, index: int) -> tuple[Record, int]:
        return self.records[int(self._record[index])], int(self._turn[index])

    def _sample(self, record: Record, turn: int, skipped: tuple[str, ...]) -> Sample:
        _check_usable(record, turn, self.config)
        try:
            images = self.records.load_images(record, _count_placeholders(record, turn))
            views = process_images(images, self.image_processor, self.model_config)
        except (OSError, ValueError) as error:
            raise BadSampleError("bad image", str(error)) from error
        encoded = self._encode(record, turn)
        room = self._check_room(encoded, sum(self.image_tokens(image.size) for image in images))
        extra = self._draw_extra(sample_id(record, turn), room)
        if extra:
            encoded = self._encode(record, turn, extra)
        return Sample(
            id=sample_id(record, turn),
            input_ids=encoded.input_ids,
            labels=encoded.labels,
            views=tuple(views),
            image_sizes=tuple(image.size for image in images),
            question=encoded.question,
            skipped=skipped,
        )

    def _encode(self, record: Record, turn: int, extra_blocks: int = 0) -> Encoded:
        gap = draw_gap(self.config.infill, self.config.infill_id, self.config.seed, sample_id(record, turn))
        return encode_conversation(
            record.turns[: 2 * turn + 2],
            self.tokenizer,
            answer_block=self.config.answer_block,
            extra_blocks=extra_blocks,
            gap=gap,
            template=self.config.template,
        )

    def _check_room(self, encoded: Encoded, num_image_tokens: int) -> int:
        """Positions of the context that are left."""
        prompt, answer = count_text(encoded)
        room = self.config.max_sequence_length - prompt - num_image_tokens - answer
        if room < 0:
            raise BadSampleError(
                "too long",
                f"prompt {prompt} + images {num_image_tokens} + answer {answer} tokens exceed max_sequence_length="
                f"{self.config.max_sequence_length}",
            )
        return room

    def _check_text(self, record: Record, turn: int) -> None:
        encoded = self._encode(record, turn)
        answer, limit = count_text(encoded)[1], self.config.max_sequence_length
        if answer > limit:
            raise ValueError(
                f"{sample_id(record, turn)}: the answer alone has {answer} tokens with its end-of-text padding, more "
                f"than max_sequence_length={limit}; shorten it, remove the record, or raise max_sequence_length"
            )
        self._check_room(encoded, 0)

    def _is_short(self, record: Record) -> bool:
        conversation = conv_templates[self.config.template].copy()
        for role, text in record.turns:
            conversation.append_message(role, text)
        # A token takes a byte at least, and a gap adds its padding and its end.
        size = len(conversation.get_prompt().encode()) + self.config.infill.longest_padding + 1
        return size + self.config.answer_block <= self.config.max_sequence_length

    def _draw_extra(self, name: str, room: int) -> int:
        config = self.config
        drawn = stable_seed("extra blocks", config.seed, name) % (config.max_extra_blocks + 1)
        return min(drawn, room // config.answer_block)

    def _report(self, record: Record, reason: str) -> None:
        if record.id not in self._reported:
            self._reported.add(record.id)
            logger.warning("skipped %s", reason)


def _count_placeholders(record: Record, turn: int) -> int:
    return sum(text.count(DEFAULT_IMAGE_TOKEN) for _, text in record.turns[: 2 * turn + 2])


def _check_usable(record: Record, turn: int, config: ConversationConfig) -> None:
    if record.bad is not None:
        raise BadSampleError("bad record", record.bad)
    question = record.turns[2 * turn][1].replace(DEFAULT_IMAGE_TOKEN, "")
    if config.require_question and not question.strip():
        raise BadSampleError("no question", "its question is an image alone, and require_question is on")


def sample_id(record: Record, turn: int) -> str:
    """The name of the sample that learns the answer of a turn, counted from 0."""
    return f"{record.id}#{turn}"


def count_text(encoded: Encoded) -> tuple[int, int]:
    """Text tokens of the prompt and of the answer with its padding."""
    answer = int((encoded.labels != IGNORE_INDEX).sum())
    return len(encoded.labels) - answer - count_images(encoded.input_ids), answer


def image_token_counter(model: LavidaForMaskedDiffusion) -> ImageTokens:
    """How many positions an image takes in this model, as it is now: stock, or with SHIRG-X applied.

    With SHIRG-X and an automatic budget it is the largest budget, which training with mixed budgets draws too.
    """
    config = model.config
    if getattr(config, "image_view", None) is None:
        return partial(stock_tokens, config, model.get_vision_tower().config)
    shirg = ShirgXConfig.from_dict(config.shirg_x)
    return partial(_same_for_all, shirg.offered[-1] + shirg.scaffold * shirg.scaffold_tokens)


def _same_for_all(count: int, size: Size) -> int:
    return count
