"""A loaded model that answers questions about pages; for the command line and for notebooks.

session = Session.load()
for answer in session.ask(image, ["What is the total?", "Who signed?"]):
    print(answer.text)
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import EncodedPages, ShirgXHandle, ShirgXPrefix
from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import conv_templates
from llava.image_processor import SigLipImageProcessor
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.words import Blank, Template, check_question
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.generate import DenoisingStep
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.question import Question
from shirg.config import ShirgXConfig

DECODING = DecodingConfig(max_new_tokens=32, schedule="shift", prefix_lm=True, stop_at_end_of_turn=True)
"""Short answers from a cached prompt."""

Observer = Callable[[DenoisingStep], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class VisualPrefix:
    """What the language model is shown of a page."""

    tokens: Tensor
    """(tokens, width), projected."""
    shirg: ShirgXPrefix | None = None
    """The decision behind it; None for LaViDa's own encoding."""

    @property
    def budget(self) -> int | None:
        """Detail tokens, K; None for LaViDa's own encoding."""
        return None if self.shirg is None else self.shirg.selection.lengths[0]

    @property
    def scaffold_tokens(self) -> int | None:
        return None if self.budget is None else len(self.tokens) - self.budget


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """A picture as the model sees it before any question."""

    image: Image.Image
    encoded: EncodedPages | None
    """SHIRG-X's view; None for LaViDa's own encoding."""
    prefix: VisualPrefix | None
    """Given here when no question changes it: LaViDa's own encoding, and selection by attention."""
    seconds: float
    """Time the encoding took."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Denoised:
    """What came out of one denoising."""

    tokens: tuple[int, ...]
    """Ids of the whole answer, also behind its end."""
    prefix: VisualPrefix
    steps: int
    seconds: dict[str, float]
    """By stage: ``encode`` (the page's, which its questions share), ``select``, ``denoise`` (prefill included)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer(Denoised):
    """The answer to a question."""

    question: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Filled(Denoised):
    """A template with its gaps filled."""

    template: Template
    text: str
    gaps: tuple[str, ...]
    """What was written into each gap."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """A model, its tokenizer, and SHIRG-X if it is in use."""

    tokenizer: PreTrainedTokenizerBase
    model: LavidaForMaskedDiffusion
    image_processor: SigLipImageProcessor
    handle: ShirgXHandle | None
    """None for LaViDa's own encoding of images."""

    @classmethod
    def load(
        cls,
        model: str | Path = BUNDLED_MODEL,
        *,
        shirg: ShirgXConfig | None = None,
        adapter: str | Path | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> "Session":
        """Load a checkpoint's directory or hub repository.

        ``shirg``: None for the settings that the adapter was trained with, or the checkpoint saved with;
        ``mode: stock`` is LaViDa's own encoding. ``adapter``: an adapter's directory, merged into the weights.

        Raises:
            FileNotFoundError, ValueError: as ``Checkpoint.resolve`` and ``Checkpoint.load``.
        """
        checkpoint = Checkpoint.resolve(model, revision=revision, adapter=adapter, settings=shirg)
        return cls.open(checkpoint, device=device, dtype=dtype)

    @classmethod
    def open(cls, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto") -> "Session":
        """Load what has been resolved.

        Raises:
            FileNotFoundError, ValueError: as ``Checkpoint.load``.
        """
        (tokenizer, model, processor, _), handle = checkpoint.load(device=device, dtype=dtype)
        return cls(tokenizer=tokenizer, model=model, image_processor=processor, handle=handle)

    @property
    def untrained(self) -> bool:
        """Whether the checkpoint calls itself untrained: its answers mean nothing."""
        return bool(getattr(self.model.config, "untrained", False))

    def ask(
        self, image: Image.Image, questions: Sequence[str], *, decoding: DecodingConfig = DECODING, seed: int = 0
    ) -> list[Answer]:
        """The answers to questions about one image, which is encoded once.

        Raises:
            ValueError: for a question or settings that cannot be used, or one too long for the model's context.
        """
        for question in questions:
            self.check_words(check_question(question))
        page = self.encode(image)
        return [self.answer(page, question, decoding=decoding, seed=seed) for question in questions]

    @torch.no_grad()
    def encode(self, image: Image.Image) -> Page:
        """Everything about a picture that no question changes."""
        start = self._now()
        views = process_images([image], self.image_processor, self.model.config)
        encoded = prefix = None
        if self.handle is None:
            prefix = VisualPrefix(tokens=self.model.encode_images(views, [image.size])[0])
        else:
            encoded = self.handle.encode_pages(views, [image.size])
            if not self.handle.config.source.reads_question:
                prefix = self._choose(encoded, None)
        return Page(image=image, encoded=encoded, prefix=prefix, seconds=self._now() - start)

    @torch.no_grad()
    def select(self, page: Page, question: str) -> VisualPrefix:
        """What the model is shown of the page for this question."""
        if page.prefix is not None:
            return page.prefix
        assert page.encoded is not None
        return self._choose(page.encoded, self.prompt(check_question(question))[1])

    def answer(
        self,
        page: Page,
        question: str,
        *,
        decoding: DecodingConfig = DECODING,
        seed: int = 0,
        on_step: Observer | None = None,
    ) -> Answer:
        """The answer to one question; ``seed`` matters when denoising draws at random, and not the questions before.

        Raises:
            ValueError: as ``ask``.
        """
        question = check_question(question)
        self.check_words(question)
        run = self._denoise(page, question, decoding, seed, on_step)
        return Answer(question=question, text=self.decode(run.tokens).strip(), **vars(run))

    def fill(
        self,
        page: Page,
        template: Template,
        *,
        decoding: DecodingConfig = DECODING,
        seed: int = 0,
        on_step: Observer | None = None,
    ) -> Filled:
        """The template with its gaps filled; a gap may take fewer words than it has room for.

        Raises:
            ValueError: if the template does not fit the answer, and as ``ask``.
        """
        draft, spans = self.draft(template, decoding.max_new_tokens)
        # An end of turn in a gap is a short filling, not the end of the template.
        decoding = replace(decoding, stop_at_end_of_turn=False)
        run = self._denoise(page, template.instruction, decoding, seed, on_step, draft)
        gaps = (
            self._text(run.tokens[span.start : span.stop])
            for span, piece in zip(spans, template.pieces, strict=True)
            if isinstance(piece, Blank)
        )
        # The text is decoded as a whole, because a character may be made of several tokens.
        text = self._text(run.tokens[: spans[-1].stop])
        return Filled(template=template, text=text, gaps=tuple(gaps), **vars(run))

    def draft(self, template: Template, length: int) -> tuple[Tensor, list[range]]:
        """Ids (1, length) with masks in the gaps, ended like an answer, and the positions of each piece.

        Raises:
            ValueError: if the template is longer than ``length`` or holds special tokens, or has an open gap where the
                model has no infilling token.
        """
        self.check_words(template.text)
        config = self.model.config
        ids: list[int] = []
        spans = []
        for piece in template.pieces:
            start = len(ids)
            ids += self._masks(piece) if isinstance(piece, Blank) else self._words(piece)
            spans.append(range(start, len(ids)))
        if len(ids) > length:
            raise ValueError(
                f"the template takes {len(ids)} tokens, more than the {length} of the answer; raise --tokens "
                "(max_new_tokens) or shorten it"
            )
        ending = [config.eot_token_id, *[config.eos_token_id] * length]
        return torch.tensor([(ids + ending)[:length]]), spans

    def _masks(self, blank: Blank) -> list[int]:
        config = self.model.config
        masks = [config.mask_token_id] * blank.tokens
        if not blank.is_open:
            return masks
        if config.infill_token_id is None:
            raise ValueError(
                f"this model has no infilling token to close the gap [~{blank.tokens}] with; write [{blank.tokens}]"
            )
        return [*masks, config.infill_token_id]

    def decode(self, tokens: Sequence[int]) -> str:
        """The words of ids up to the first end of turn."""
        ends = (self.model.config.eot_token_id, self.model.config.eos_token_id)
        length = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        return self._text(tokens[:length])

    def check_words(self, text: str) -> None:
        """Refuse text that would be read as more than words.

        Raises:
            ValueError: if it holds a special token of the tokenizer, with which a text could end its own turn.
        """
        marked = {token for token, word in self.tokenizer.added_tokens_decoder.items() if word.special}
        special = marked.union(self.tokenizer.all_special_ids).intersection(self._words(text))
        if special:
            words = ", ".join(self.tokenizer.convert_ids_to_tokens(sorted(special)))
            raise ValueError(f"the text {text!r} holds the special token {words}; leave it out")

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def _words(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def prompt(self, question: str) -> tuple[Tensor, Question]:
        """The ids of a question about one image, -200 in the image's place, and what selection reads of it.

        Raises:
            ValueError: if the question holds no words.
        """
        conversation = conv_templates["llada"].copy()
        conversation.append_message("user", f"{DEFAULT_IMAGE_TOKEN}\n{question}")
        conversation.append_message("assistant", None)
        ids = tokenizer_image_token(conversation.get_prompt(), self.tokenizer, return_tensors="pt")
        assert isinstance(ids, Tensor)
        cut = self.model.prompt_ids.cut_question(ids.tolist())
        if cut is None:
            raise ValueError(f"the question {question!r} holds no words; ask something")
        return ids, replace(cut, text=question)

    def _choose(self, encoded: EncodedPages, question: Question | None) -> VisualPrefix:
        assert self.handle is not None
        chosen = self.handle.select_tokens(encoded, [question])
        return VisualPrefix(tokens=chosen.sequences[0], shirg=chosen)

    @torch.no_grad()
    def _denoise(
        self,
        page: Page,
        question: str,
        decoding: DecodingConfig,
        seed: int,
        on_step: Observer | None,
        draft: Tensor | None = None,
    ) -> Denoised:
        start = self._now()
        prefix = self.select(page, question)
        selected = self._now()
        steps = 0

        def observe(step: DenoisingStep) -> None:
            nonlocal steps
            steps = step.index
            if on_step is not None:
                on_step(step)

        ids, _ = self.prompt(question)
        tokens = self.model.denoise(
            self.model.splice([ids], [prefix.tokens]),
            decoding,
            draft_tokens=draft,
            generator=torch.Generator(self.model.device).manual_seed(seed),
            on_step=observe,
        )
        assert isinstance(tokens, Tensor)
        answer = tuple(tokens[0].tolist())
        seconds = {"encode": page.seconds, "select": selected - start, "denoise": self._now() - selected}
        return Denoised(tokens=answer, prefix=prefix, steps=steps, seconds=seconds)

    def _now(self) -> float:
        """Seconds, read once the GPU has caught up."""
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)
        return time.perf_counter()
