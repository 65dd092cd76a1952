"""Samples to train on from records: one for each answer of each conversation, with the turns before it as its history.

What a record's file can tell is checked before the first step by ``ConversationDataset.check``. What only an image
tells may come up at any time: such a sample is reported, the next good one takes its place and says so in
``Sample.skipped``.
"""

import logging
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from llava.constants import DEFAULT_IMAGE_TOKEN, IGNORE_INDEX
from llava.conversation import Conversation, conv_templates
from llava.data.checks import Checked, CheckReport, count_placeholders, look_for_images
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
    template: Conversation = field(default_factory=lambda: conv_templates["llada"])
    """Of the model that is to learn from them."""

    def __post_init__(self) -> None:
        if not isinstance(self.template, Conversation):
            raise ValueError(f"template must be a Conversation, such as those of conv_templates, got {self.template!r}")
        for name, least in (("max_sequence_length", 1), ("answer_block", 1), ("max_extra_blocks", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


_NEAR, _FAR = 32, 1000
"""Samples that are tried behind one that cannot be used, and then anywhere: no item takes seconds to be found."""
_MOST_REPORTED = 20
"""Bad records that each process writes a line about."""


class BadSampleError(ValueError):
    """Why one sample cannot be used; ``kind`` is what such reasons are counted under."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class ConversationDataset(Dataset[Sample]):
    """One sample for each answer of each record, in the records' order, named ``<record id>#<turn>``.

    Indexing reads and prepares the images. A record or an image that cannot be used is logged once by each process, and
    the next good sample takes its place, the same in every epoch and on every machine.

    Args:
        records: from ``read_mixture`` or ``read_real_set``.
        model_config: the model's, which decides the views; after ``apply_shirg_x`` if it is to be applied.
        image_tokens: from ``image_token_counter``.
        tokens_per_image: positions of an image where all take as many, so that ``check`` can judge lengths exactly.
        unusable: why samples cannot be used, by their positions, as far as an earlier ``check`` has found out.

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
        tokens_per_image: int | None = None,
        config: ConversationConfig | None = None,
        unusable: Mapping[int, str] | None = None,
    ) -> None:
        self.records, self.tokenizer, self.image_processor = records, tokenizer, image_processor
        self.model_config, self.image_tokens = model_config, image_tokens
        self.config = config or ConversationConfig()
        # A bad record keeps a place of its own, where it is found, reported and replaced like any other bad sample.
        places = np.maximum(np.asarray(records.num_answers, dtype=np.int64), 1)
        self._record = np.repeat(np.arange(len(places)), places)
        self._turn = np.arange(len(self._record)) - np.repeat(places.cumsum() - places, places)
        self.tokens_per_image = tokens_per_image
        self.unusable: dict[int, str] = dict(unusable or {})
        """Why samples cannot be used, by their positions: found once, and not looked for again."""
        self._reported: set[str] = set()

    def __len__(self) -> int:
        return len(self._record)

    def __getitem__(self, index: int) -> Sample:
        start = range(len(self))[operator.index(index)]
        skipped: list[str] = []
        for position in self._places(start):
            record, turn = self.find(position)
            if position not in self.unusable:
                try:
                    return self._sample(record, turn, tuple(skipped))
                except BadSampleError as error:
                    self.unusable[position] = f"{sample_id(record, turn)}: {error}"
            skipped.append(self.unusable[position])
            self._report(record, skipped[-1])
        tried = "none" if len(skipped) == len(self) else f"none of {len(skipped)} tried"
        raise ValueError(f"{tried} of the {len(self)} samples can be used; the first one: {skipped[0]}")

    def _places(self, start: int) -> Iterator[int]:
        """Where to look for a sample: at its place, at those behind it, and then anywhere, with an end."""
        near = min(len(self), _NEAR)
        yield from ((start + offset) % len(self) for offset in range(near))
        if near == len(self):
            return
        seen = {(start + offset) % len(self) for offset in range(near)}
        for number in range(_FAR):
            place = stable_seed("replacement", start, number) % len(self)
            if place not in seen:
                seen.add(place)
                yield place

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

    def check(self, *, strict: bool = False, num_examples: int = 5, max_missing_images: float = 1.0) -> CheckReport:
        """What the records' files alone tell of bad samples: no image is opened, only looked for.

        Texts that are short for certain are not tokenized (a byte-level tokenizer makes no more tokens than bytes), so
        half a million captions take less than a minute. A text that is too long only together with its images is found
        here where all images take as many tokens, and when they are read otherwise. What is found is kept in
        ``unusable``, so that nothing is looked for twice.

        Raises:
            ValueError: if nothing usable remains, if an answer alone exceeds the context, if a larger share of the
                images than ``max_missing_images`` is missing, or, when ``strict``, if any sample is bad.
        """
        looked = look_for_images(self.records)
        checked = Checked(num_samples=len(self), looked=looked)
        position = 0
        for number, record in enumerate(self.records):
            short = self._is_short(record)
            for turn in range(max(1, len(record.turns) // 2)):
                try:
                    _check_usable(record, turn, self.config)
                    if not short:
                        self._check_text(record, turn)
                    if (missing := looked.missing_in_turn(number, turn)) is not None:
                        raise BadSampleError("missing image", f"there is no image {missing}")
                except BadSampleError as error:
                    self.unusable[position] = f"{sample_id(record, turn)}: {error}"
                    checked.note(record.source, error.kind)
                else:
                    checked.note(record.source)
                position += 1
        report = checked.report(self.unusable, num_examples)
        if report.num_bad and (strict or report.num_bad == len(self)):
            raise ValueError(f"{report}; the first: {' | '.join(report.examples)}")
        report.refuse_above(max_missing_images)
        return report

    def measure(self, index: int) -> tuple[int, int, int]:
        """Text tokens of a sample's prompt, its images, and tokens of its answer with padding; no image is read."""
        record, turn = self.find(index)
        prompt, answer = count_text(self._encode(record, turn))
        return prompt, count_placeholders(record, turn), answer

    def find(self, index: int) -> tuple[Record, int]:
        """The record behind a sample, and which of its answers is learned."""
        return self.records[int(self._record[index])], int(self._turn[index])

    def _sample(self, record: Record, turn: int, skipped: tuple[str, ...]) -> Sample:
        _check_usable(record, turn, self.config)
        try:
            images = self.records.load_images(record, count_placeholders(record, turn))
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
        self._check_room(encoded, (self.tokens_per_image or 0) * count_placeholders(record, turn))

    def _is_short(self, record: Record) -> bool:
        conversation = self.config.template.copy()
        for role, text in record.turns:
            conversation.append_message(role, text)
        # A token takes a byte at least, and a gap adds its padding and its end.
        size = len(conversation.get_prompt().encode()) + self.config.infill.longest_padding + 1
        size += (self.tokens_per_image or 0) * len(record.images)
        return size + self.config.answer_block <= self.config.max_sequence_length

    def _draw_extra(self, name: str, room: int) -> int:
        config = self.config
        drawn = stable_seed("extra blocks", config.seed, name) % (config.max_extra_blocks + 1)
        return min(drawn, room // config.answer_block)

    def _report(self, record: Record, reason: str) -> None:
        if record.id in self._reported or len(self._reported) >= _MOST_REPORTED:
            return
        self._reported.add(record.id)
        more = "; further ones are only counted" if len(self._reported) == _MOST_REPORTED else ""
        logger.warning("skipped %s%s", reason, more)


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
