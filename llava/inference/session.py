"""A loaded model that answers questions about pages; for the command line and for notebooks.

    session = Session.load()
    answer = session.ask("page.png", "What is the total?")
    print(answer, answer.confidence)

A page is encoded once for all questions that one call asks about it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import EncodedPages, ShirgXHandle, apply_shirg_x
from llava.image_io import DEFAULT_LIMITS, PageLimits
from llava.image_processor import SigLipImageProcessor
from llava.inference.answer import Answer, Denoised, EncodedImage, Filled, VisualPrefix, doubt_of
from llava.inference.batching import BATCH_POSITIONS, Askable, Finished, Prepared, cut_batches, page_key, windows
from llava.inference.blank import is_blank
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint, vision_kwargs
from llava.inference.decoding import Decoding, find_decoding
from llava.inference.optimizations import AS_LOADED, Optimizations
from llava.inference.picture import open_picture, pdf_long_side
from llava.inference.prompts import Prompts
from llava.inference.words import Blank, Template, check_question
from llava.mm_utils import process_images
from llava.model.builder import load_pretrained_model
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.progress import DenoisingStep
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.question import Question
from llava.tuning.adapter import merge_into
from shirg.config import ShirgXConfig
from shirg.profiling import seconds_now
from shirg.tiling import PageViews

Observer = Callable[[DenoisingStep], None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Session(Prompts):
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
        optimizations: Optimizations = AS_LOADED,
    ) -> "Session":
        """Load a checkpoint's directory or hub repository.

        ``shirg``: None for the settings that the adapter was trained with, or the checkpoint saved with;
        ``mode: stock`` is LaViDa's own encoding. ``adapter``: an adapter's directory, merged into the weights.
        ``optimizations``: compiled layers, or weights in one byte.

        Raises:
            FileNotFoundError, ValueError: as ``Checkpoint.resolve`` and ``Session.open``.
        """
        checkpoint = Checkpoint.resolve(model, revision=revision, adapter=adapter, settings=shirg)
        return cls.open(checkpoint, device=device, dtype=dtype, limits=limits, optimizations=optimizations)

    @classmethod
    def open(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        dtype: str = "auto",
        limits: PageLimits = DEFAULT_LIMITS,
        optimizations: Optimizations = AS_LOADED,
    ) -> "Session":
        """Load what has been resolved, its adapter merged into the weights.

        Raises:
            FileNotFoundError, ValueError: as ``load_pretrained_model``, ``apply_shirg_x``, ``load_adapter`` and
                ``Optimizations.apply``.
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
        optimizations.apply(model)
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
            self.check_question(each, find_decoding(decoding).max_new_tokens)
        encoded = image if isinstance(image, EncodedImage) else self.encode(image, page=page)
        answers = list(self.answers(((encoded, each) for each in questions), decoding=decoding, seed=seed))
        return answers[0] if isinstance(question, str) else answers

    def ask_many(
        self,
        asked: Iterable[tuple[Any, str]],
        *,
        decoding: Decoding = "fast",
        seed: int = 0,
        on_answer: Callable[[int], object] | None = None,
    ) -> list[Answer]:
        """The answers to questions about several pages, in their order; each is what ``ask`` gives for it alone.

        Every page is encoded once, and questions are denoised together. All answers keep their pages; ``answers``
        gives one after the other instead.

        Args:
            asked: pairs of a page, as ``ask`` takes it, and a question.
            on_answer: told how many questions are answered, as they are.

        Raises:
            FileNotFoundError, ValueError, TypeError, RuntimeError: as ``ask``, before anything is answered where the
                questions are at fault.
        """
        pairs = [(image, check_question(question)) for image, question in asked]
        for _, question in pairs:
            self.check_question(question, find_decoding(decoding).max_new_tokens)
        # Questions about a page come together, and pages in the order of their first question.
        first: dict[object, int] = {}
        for place, (image, _) in enumerate(pairs):
            first.setdefault(page_key(image), place)
        order = sorted(range(len(pairs)), key=lambda place: (first[page_key(pairs[place][0])], place))
        found: dict[int, Answer] = {}
        for answer in self.answers((pairs[place] for place in order), decoding=decoding, seed=seed):
            found[order[len(found)]] = answer
            if on_answer is not None:
                on_answer(len(found))
        return [found[place] for place in range(len(pairs))]

    def answers(
        self, asked: Iterable[tuple[Any, str]], *, decoding: Decoding = "fast", seed: int = 0
    ) -> Iterator[Answer]:
        """As ``ask_many``, one answer after the other; questions are taken as they are needed, and a page is encoded
        once for all its questions that follow each other.
        """
        decoding = find_decoding(decoding)
        # What is drawn at random must not depend on who else is asked.
        positions = 0 if decoding.random else BATCH_POSITIONS
        for window in windows(self._prepared(asked, decoding), decoding.max_new_tokens, positions):
            runs: dict[int, Denoised] = {}
            for batch in cut_batches([one.length for one in window], decoding.max_new_tokens, positions):
                done = self.denoise([window[place] for place in batch], decoding, seed)
                runs |= dict(zip(batch, done, strict=True))
            for place, one in enumerate(window):
                yield self._answer(one.question, runs[place])

    def _prepared(self, asked: Iterable[tuple[Any, str]], decoding: DecodingConfig) -> Iterator[Prepared]:
        last = page = None
        for image, question in asked:
            self.check_question(check_question(question), decoding.max_new_tokens)
            if page is None or page_key(image) != page_key(last):
                # The page itself is held, so that no other can be taken for it.
                last, page = image, image if isinstance(image, EncodedImage) else self.encode(image)
            yield self._prepare(page, check_question(question))

    def _prepare(self, page: EncodedImage, question: str) -> Prepared:
        start = seconds_now(self.model.device)
        prefix = self.select(page, question)
        seconds = seconds_now(self.model.device) - start
        return Prepared(
            page=replace(page, encoded=None),
            question=question,
            ids=self.prompt(question)[0],
            prefix=prefix,
            select_seconds=seconds,
        )

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
                f"{opened.name}: nothing is visible; the page is blank, so that answers mean nothing"
            )
        return EncodedImage(
            image=picture, encoded=encoded, prefix=prefix, seconds=seconds, blank=blank, notes=opened.notes
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
        question = check_question(question)
        self.check_question(question, 0)
        return self._choose(page.encoded, self.prompt(question)[1])

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
        self.check_question(question, find_decoding(decoding).max_new_tokens)
        run = self.denoise([self._prepare(page, question)], find_decoding(decoding), seed, on_step)[0]
        return self._answer(question, run)

    def _answer(self, question: str, run: Denoised) -> Answer:
        text = self.decode(run.tokens).strip()
        doubt = doubt_of(text, run.confidence, self.model.config.unsure_below)
        return Answer(question=question, text=text, doubt=doubt, **vars(run))

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
        run = self.denoise([self._prepare(page, template.instruction)], decoding, seed, on_step, draft)[0]
        gaps = (
            self._text(run.tokens[span.start : span.stop])
            for span, piece in zip(spans, template.pieces, strict=True)
            if isinstance(piece, Blank)
        )
        # The text is decoded as a whole, because a character may be made of several tokens.
        text = self._text(run.tokens[: spans[-1].stop])
        filled = tuple(gaps)
        doubt = doubt_of("".join(filled), run.confidence, self.model.config.unsure_below)
        return Filled(template=template, text=text, gaps=filled, doubt=doubt, **vars(run))

    def _choose(self, encoded: EncodedPages, question: Question | None) -> VisualPrefix:
        assert self.handle is not None
        chosen = self.handle.select_tokens(encoded, [question])
        return VisualPrefix(tokens=chosen.sequences[0], shirg=chosen)

    @torch.no_grad()
    def denoise(
        self,
        asked: Sequence[Askable[Finished]],
        decoding: DecodingConfig,
        seed: int,
        on_step: Observer | None = None,
        draft: Tensor | None = None,
    ) -> list[Finished]:
        """Several prepared questions denoised together."""
        start = seconds_now(self.model.device)
        done = self.model.denoise(
            self.model.splice([one.ids for one in asked], [image for one in asked for image in one.sequences]),
            decoding,
            draft_tokens=draft,
            generator=torch.Generator(self.model.device).manual_seed(seed),
            on_step=on_step,
        )
        share = (seconds_now(self.model.device) - start) / len(asked)
        runs = []
        for row, one in enumerate(asked):
            # A draft is told as a whole; behind the end of an answer, nothing is said any more.
            told = done.tokens.shape[1] if draft is not None else self.count_tokens(done.tokens[row].tolist())
            filled = told if draft is None else int((draft == self.model.config.mask_token_id).sum())
            shirg = None if self.handle is None else self.handle.config
            runs.append(one.denoised(done, row, told=told, filled=filled, shirg=shirg, seconds=share))
        return runs
