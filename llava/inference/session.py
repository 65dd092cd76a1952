"""A loaded model that answers questions about pages; for the command line and for notebooks.

    session = Session.load()
    answer = session.ask("page.png", "What is the total?")
    print(answer, answer.confidence)

A page is encoded once for all questions that one call asks about it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import EncodedPages, ShirgXHandle, apply_shirg_x
from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import conv_templates
from llava.image_io import DEFAULT_LIMITS, PageLimits
from llava.image_processor import SigLipImageProcessor
from llava.inference.answer import Answer, Denoised, EncodedImage, Filled, VisualPrefix
from llava.inference.blank import is_blank
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint, vision_kwargs
from llava.inference.decoding import Decoding, find_decoding
from llava.inference.picture import open_picture, pdf_long_side
from llava.inference.words import Blank, Template, check_question
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model
from llava.model.language_model.diffusion.progress import DenoisingStep
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.question import Question
from llava.tuning.adapter import merge_into
from shirg.config import ShirgXConfig
from shirg.profiling import seconds_now
from shirg.tiling import PageViews

Observer = Callable[[DenoisingStep], None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Session:
    """A model, its tokenizer, and SHIRG-X if it is in use.

    ``close`` lets go of the model, and so does the end of a ``with`` block.
    """

    tokenizer: PreTrainedTokenizerBase
    model: LavidaForMaskedDiffusion
    image_processor: SigLipImageProcessor
    handle: ShirgXHandle | None
    """None for LaViDa's own encoding of images."""
    limits: PageLimits = DEFAULT_LIMITS
    """Of the process that draws the pages of files."""

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
        limits: PageLimits = DEFAULT_LIMITS,
    ) -> "Session":
        """Load a checkpoint's directory or hub repository.

        ``shirg``: None for the settings that the adapter was trained with, or the checkpoint saved with;
        ``mode: stock`` is LaViDa's own encoding. ``adapter``: an adapter's directory, merged into the weights.

        Raises:
            FileNotFoundError, ValueError: as ``Checkpoint.resolve`` and ``Session.open``.
        """
        checkpoint = Checkpoint.resolve(model, revision=revision, adapter=adapter, settings=shirg)
        return cls.open(checkpoint, device=device, dtype=dtype, limits=limits)

    @classmethod
    def open(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        dtype: str = "auto",
        limits: PageLimits = DEFAULT_LIMITS,
    ) -> "Session":
        """Load what has been resolved, its adapter merged into the weights.

        Raises:
            FileNotFoundError, ValueError: as ``load_pretrained_model``, ``apply_shirg_x`` and ``load_adapter``.
        """
        _ = checkpoint.config  # a wrong entry is told before weights are fetched
        shirg = checkpoint.shirg
        tokenizer, model, processor, _ = load_pretrained_model(
            checkpoint.model,
            device_map=device,
            torch_dtype=dtype,
            revision=checkpoint.revision,
            vision_kwargs=vision_kwargs(shirg),
        )
        handle = None
        if checkpoint.adapter is not None:
            handle = merge_into(model, checkpoint.adapter, shirg_x=shirg, tokenizer=tokenizer)
        elif shirg.mode != "stock":
            handle = apply_shirg_x(model, shirg, tokenizer=tokenizer)
        return cls(tokenizer=tokenizer, model=model, image_processor=processor, handle=handle, limits=limits)

    def close(self) -> None:
        """Let go of the model, so that its memory is free; nothing can be asked any more."""
        vars(self).clear()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        # Reached only where there is no such attribute, which of the fields is true once the session is closed.
        if name in (field.name for field in fields(self)):
            raise RuntimeError("this session is closed; Session.load() opens another")
        raise AttributeError(f"a Session has no attribute {name!r}")

    def __repr__(self) -> str:
        if not vars(self):
            return "Session(closed)"
        chosen = "mode=stock" if self.handle is None else f"similarity={self.handle.config.similarity}"
        return f"Session({self.model.config.name_or_path!r}, {chosen}, device={str(self.model.device)!r})"

    def _check_patch(self) -> None:
        if self.handle is not None and not self.handle.applied:
            raise RuntimeError("SHIRG-X was removed from this session's model; Session.load() opens another session")

    @property
    def untrained(self) -> bool:
        """Whether the checkpoint calls itself untrained: its answers mean nothing."""
        return bool(getattr(self.model.config, "untrained", False))

    @overload
    def ask(
        self, image: Any, question: str, *, page: int | None = None, decoding: Decoding = "fast", seed: int = 0
    ) -> Answer: ...

    @overload
    def ask(
        self,
        image: Any,
        question: Iterable[str],
        *,
        page: int | None = None,
        decoding: Decoding = "fast",
        seed: int = 0,
    ) -> list[Answer]: ...

    def ask(
        self,
        image: Any,
        question: str | Iterable[str],
        *,
        page: int | None = None,
        decoding: Decoding = "fast",
        seed: int = 0,
    ) -> Answer | list[Answer]:
        """The answer to a question about one page, or the answers to several, for which it is encoded once.

        Args:
            image: whatever ``open_picture`` takes (a path, bytes, a PIL image, an array), or a page from ``encode``.
            question: one text, for one answer, or several, for a list.
            page: of a PDF or a TIFF, counted from 1, or a frame of an animation.
            decoding: ``fast``, ``exact``, ``one-per-step``, or settings.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for a page, a question or settings that cannot be used, or a question too long for the model's
                context.
            TypeError: for something that is no page or no text.
            RuntimeError: if the session is closed, or SHIRG-X was removed from its model.
        """
        if not isinstance(question, Iterable):
            raise TypeError(f"a question is a text, or a list of several, but this is {type(question).__name__}")
        questions = [check_question(each) for each in ([question] if isinstance(question, str) else question)]
        for each in questions:
            self.check_words(each)
        encoded = image if isinstance(image, EncodedImage) else self.encode(image, page=page)
        answers = [self.answer(encoded, each, decoding=decoding, seed=seed) for each in questions]
        return answers[0] if isinstance(question, str) else answers

    @property
    def _page_views(self) -> PageViews | None:
        """SHIRG-X's; None for LaViDa's own."""
        views: PageViews | None = getattr(self.model.config, "image_view", None)
        return views

    @torch.no_grad()
    def encode(self, image: Any, *, page: int | None = None) -> EncodedImage:
        """Everything about a page that no question changes; ``image`` and errors as for ``ask``."""
        self._check_patch()
        opened = open_picture(image, page=page, long_side=pdf_long_side(self._page_views), limits=self.limits)
        picture = opened.image
        start = seconds_now(self.model.device)
        views = process_images([picture], self.image_processor, self.model.config)
        encoded = prefix = None
        if self.handle is None:
            prefix = VisualPrefix(tokens=self.model.encode_images(views, [picture.size])[0])
        else:
            encoded = self.handle.encode_pages(views, [picture.size])
            if not self.handle.config.source.reads_question:
                prefix = self._choose(encoded, None)
        seconds = seconds_now(self.model.device) - start
        if blank := is_blank(picture, encoded, self.image_processor):
            opened = opened.noting(
                f"{opened.name}: nothing is visible; the page is blank, and answers are not about it"
            )
        return EncodedImage(
            image=picture,
            encoded=encoded,
            prefix=prefix,
            seconds=seconds,
            blank=blank,
            notes=opened.notes,
        )

    @torch.no_grad()
    def select(self, page: EncodedImage, question: str) -> VisualPrefix:
        """What the model is shown of the page for this question."""
        self._check_patch()
        if not isinstance(page, EncodedImage):
            raise TypeError(f"this wants a page from encode(), not {type(page).__name__}; ask() takes pictures")
        if page.prefix is not None:
            return page.prefix
        assert page.encoded is not None
        return self._choose(page.encoded, self.prompt(check_question(question))[1])

    def answer(
        self,
        page: EncodedImage,
        question: str,
        *,
        decoding: Decoding = "fast",
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
        page: EncodedImage,
        template: Template,
        *,
        decoding: Decoding = "fast",
        seed: int = 0,
        on_step: Observer | None = None,
    ) -> Filled:
        """The template with its gaps filled; a gap may take fewer words than it has room for.

        Raises:
            ValueError: if the template does not fit the answer, and as ``ask``.
        """
        # An end of turn in a gap is a short filling, not the end of the template.
        decoding = find_decoding(decoding, stop_at_end_of_turn=False)
        draft, spans = self.draft(template, decoding.max_new_tokens)
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
        return self._text(tokens[: self._end(tokens)])

    def _end(self, tokens: Sequence[int]) -> int:
        """The place of the first end of turn, or behind the last token."""
        ends = (self.model.config.eot_token_id, self.model.config.eos_token_id)
        return next((place for place, token in enumerate(tokens) if token in ends), len(tokens))

    def count_tokens(self, tokens: Sequence[int]) -> int:
        """How many ids an answer tells: its words, and its end of turn."""
        return min(self._end(tokens) + 1, len(tokens))

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
        page: EncodedImage,
        question: str,
        decoding: Decoding,
        seed: int,
        on_step: Observer | None,
        draft: Tensor | None = None,
    ) -> Denoised:
        start = seconds_now(self.model.device)
        prefix = self.select(page, question)
        selected = seconds_now(self.model.device)
        ids, _ = self.prompt(question)
        done = self.model.denoise(
            self.model.splice([ids], [prefix.tokens]),
            find_decoding(decoding),
            draft_tokens=draft,
            generator=torch.Generator(self.model.device).manual_seed(seed),
            on_step=on_step,
        )
        tokens = tuple(done.tokens[0].tolist())
        # A draft is told as a whole; behind the end of an answer, nothing is said any more.
        told = len(tokens) if draft is not None else self.count_tokens(tokens)
        filled = told if draft is None else int((draft == self.model.config.mask_token_id).sum())
        forwards = int(done.forwards[0])
        return Denoised(
            tokens=tokens,
            confidence=float(done.probabilities[0, :told].min()),
            prefix=prefix,
            image=page.image,
            blank=page.blank,
            notes=page.notes,
            shirg=None if self.handle is None else self.handle.config,
            steps=int(done.steps[0]),
            forwards=forwards,
            tokens_per_forward=filled / forwards,
            settled_in=tuple(done.settled_in[0].tolist()),
            seconds={
                "encode": page.seconds,
                "select": selected - start,
                "denoise": seconds_now(self.model.device) - selected,
            },
        )
