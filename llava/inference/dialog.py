"""Conversations: several turns, several pages in one, and answers to many of them at once.

A conversation of one turn about one page is asked exactly as ``Session.ask`` asks it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.inference.answer import EncodedImage, Outcome, VisualPrefix, doubt_of
from llava.inference.batching import outcome_of
from llava.inference.decoding import Decoding, find_decoding
from llava.inference.session import Observer, Session
from llava.inference.words import check_text
from llava.model.language_model.diffusion.progress import Progress
from shirg.config import ShirgXConfig
from shirg.profiling import seconds_now


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one side says.

    Raises:
        ValueError: if there is no such role, the model is to show pages, or nothing is said.
    """

    role: Literal["user", "assistant"] = "user"
    parts: tuple[str | EncodedImage, ...]
    """Words and pages as they follow each other; a single page goes before all words, where LaViDa learned it."""

    def __post_init__(self) -> None:
        if self.role not in ("user", "assistant"):
            raise ValueError(f"role {self.role!r} does not exist; use user or assistant")
        if self.role == "assistant" and self.pages:
            raise ValueError("the assistant's turns are words; put pages into the user's")
        if not self.pages and not self.words:
            raise ValueError(f"a turn of the {self.role} is empty; say something, or leave it out")

    @property
    def pages(self) -> tuple[EncodedImage, ...]:
        return tuple(part for part in self.parts if isinstance(part, EncodedImage))

    @property
    def words(self) -> str:
        """Its words without the pages."""
        return "\n".join(part.strip() for part in self.parts if isinstance(part, str) and part.strip())

    @property
    def text(self) -> str:
        """Its words with a placeholder for each page."""
        if len(self.pages) == 1:
            return f"{DEFAULT_IMAGE_TOKEN}\n{self.words}"
        spoken = [part.strip() if isinstance(part, str) else DEFAULT_IMAGE_TOKEN for part in self.parts]
        return "\n".join(part for part in spoken if part)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply(Outcome):
    """The model's next turn, and how it came about."""

    text: str = ""
    doubt: str | None = None
    """Why nobody should rely on it, in a sentence."""
    told: int
    """Of its tokens, the first, that are its words and its end of turn."""
    prompt_tokens: int
    """Positions of the prompt, its images among them."""
    pages: tuple[EncodedImage, ...]
    prefixes: tuple[VisualPrefix, ...]
    """What was shown of each page."""

    @property
    def image_tokens(self) -> int:
        return sum(len(prefix.tokens) for prefix in self.prefixes)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for page in self.pages for note in page.notes)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedDialog:
    """A conversation whose pages are encoded and whose tokens are chosen; denoised as ``Prepared`` is."""

    ids: Tensor
    """(positions,); -200 stands for an image."""
    pages: tuple[EncodedImage, ...]
    """Without their encoding, which is let go."""
    prefixes: tuple[VisualPrefix, ...]
    select_seconds: float

    @property
    def sequences(self) -> tuple[Tensor, ...]:
        return tuple(prefix.tokens for prefix in self.prefixes)

    @property
    def length(self) -> int:
        """Positions of the prompt with its images."""
        return len(self.ids) + sum(len(tokens) - 1 for tokens in self.sequences)

    def denoised(
        self, done: Progress, row: int, *, told: int, filled: int, shirg: ShirgXConfig | None, seconds: float
    ) -> Reply:
        """As of ``Prepared``; its words are still to be read."""
        encode = sum(page.seconds for page in self.pages)
        return Reply(
            **outcome_of(done, row, told=told, filled=filled),
            told=told,
            prompt_tokens=self.length,
            pages=self.pages,
            prefixes=self.prefixes,
            shirg=shirg,
            seconds={"encode": encode, "select": self.select_seconds, "denoise": seconds},
        )


def check_dialog(
    session: Session, turns: Sequence[tuple[str, str]], *, pages: int, answer_tokens: int, system: str | None = None
) -> None:
    """Refuse a conversation that cannot be had, before a page of it is looked at.

    Args:
        turns: (role, words) each, without pages.
        pages: of all turns.
        answer_tokens: positions of the answer.

    Raises:
        ValueError: if a turn holds special tokens or placeholders, the last one is not the user's or holds no words, or
            all together leave no room for the answer.
    """
    for text in (system or "", *(words for _, words in turns)):
        check_text(text, "text")
        session.check_words(text)
    if not turns or turns[-1][0] != "user":
        raise ValueError("the last message must be the user's; it is what is answered")
    if not turns[-1][1].strip():
        raise ValueError("the last message holds no words; ask something")
    ids, _ = session.dialog_prompt(turns, turns[-1][1], system=system)
    session.model.check_context(len(ids) + pages * session.fewest_image_tokens, answer_tokens)


@torch.no_grad()
def prepare_dialog(session: Session, turns: Sequence[Turn], *, system: str | None = None) -> PreparedDialog:
    """Choose what is shown of every page for the last turn's words.

    Raises:
        ValueError: as ``check_dialog``.
    """
    pages = tuple(page for turn in turns for page in turn.pages)
    check_dialog(session, [(turn.role, turn.words) for turn in turns], pages=len(pages), answer_tokens=0, system=system)
    question = turns[-1].words
    ids, _ = session.dialog_prompt([(turn.role, turn.text) for turn in turns], question, system=system)
    start = seconds_now(session.model.device)
    prefixes = tuple(session.select(page, question) for page in pages)
    return PreparedDialog(
        ids=ids,
        pages=tuple(replace(page, encoded=None) for page in pages),
        prefixes=prefixes,
        select_seconds=seconds_now(session.model.device) - start,
    )


def answer_dialogs(
    session: Session,
    dialogs: Sequence[PreparedDialog],
    *,
    decoding: Decoding = "fast",
    seed: int = 0,
    on_step: Observer | None = None,
) -> list[Reply]:
    """The next turn of each, denoised together; each is what it is alone, unless decoding draws at random.

    Raises:
        ValueError: if one of them exceeds the model's context.
    """
    replies = session.denoise(dialogs, find_decoding(decoding), seed, on_step)
    finished = []
    for reply in replies:
        text = session.decode(reply.tokens).strip()
        doubt = doubt_of(text, reply.confidence, session.model.config.unsure_below)
        finished.append(replace(reply, text=text, doubt=doubt))
    return finished
