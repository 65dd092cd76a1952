"""``lavida chat``: a prompt that keeps the model and a page, for one question after the other."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llava.inference.words import check_question, one_line
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.serve.display import AnswerDisplay, note
from llava.serve.files import check_picture, write_picture
from llava.serve.requests import checkpoint_of, decoding_of, encode_page, load_session, open_page, summary

if TYPE_CHECKING:
    from llava.inference.answer import Answer, EncodedImage
    from llava.inference.checkpoint import Checkpoint
    from llava.inference.session import Session

HELP = """\
Type a question, or
  :page N          go to another page of the file
  :open FILE       go to another file
  :heatmap [FILE]  draw what was kept for the last question (kept.png)
  :more            how the last answer came about
  :help            this
  :quit            leave; so does Ctrl-D. Ctrl-C stops an answer."""


def run(args: argparse.Namespace) -> None:
    """Answer questions until there are no more.

    Raises:
        FileNotFoundError, ValueError: for a page or a model that cannot be used, in one sentence.
    """
    decoding = decoding_of(args, stop=True)
    checkpoint = checkpoint_of(args)
    # What cannot be read is told before a model is loaded.
    picture = open_page(args, checkpoint)
    session = load_session(args, checkpoint)
    chat = Chat(args, checkpoint, session, decoding, encode_page(session, picture))
    if sys.stdin.isatty():
        with suppress(ImportError):
            import readline  # noqa: F401 (gives input() its history and editing)
        print(f"{one_line(args.image)} is open; type a question, or :help")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            note("type :quit or Ctrl-D to leave")
            continue
        if line in (":quit", ":q"):
            return
        if line:
            chat.take(line)


class Chat:
    """A page that questions are asked about, and the last answer."""

    def __init__(
        self,
        args: argparse.Namespace,
        checkpoint: Checkpoint,
        session: Session,
        decoding: DecodingConfig,
        page: EncodedImage,
    ) -> None:
        self.session, self.decoding = session, decoding
        self._args, self._checkpoint = args, checkpoint
        self._display = AnswerDisplay(session.decode, mask_id=session.model.config.mask_token_id)
        self._file = str(args.image)
        self._page = page
        self._answer: Answer | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            ":page": self._go_to_page,
            ":open": lambda words: self.go_to(words, None),
            ":heatmap": self._draw,
            ":more": self._tell_more,
            ":help": lambda words: print(HELP),
        }

    def take(self, line: str) -> None:
        """Answer a question or do what a command says; what is wrong with either is told, and nothing is lost."""
        name, _, words = line.partition(" ")
        try:
            if not line.startswith(":"):
                self._ask(line)
            elif name in self._commands:
                self._commands[name](words.strip())
            else:
                note(f"there is no command {name}; :help lists them")
        except KeyboardInterrupt:
            note("stopped")
        except (ValueError, OSError) as error:
            note(str(error))

    def go_to(self, file: str, page: int | None) -> None:
        """Open a page; the one before stays where this fails."""
        if not file:
            raise ValueError(":open wants a file, as in :open invoice.png")
        about = argparse.Namespace(**{**vars(self._args), "image": file, "page": page})
        encoded = encode_page(self.session, open_page(about, self._checkpoint))
        self._file, self._page, self._answer = file, encoded, None

    def _go_to_page(self, words: str) -> None:
        if not words.isdecimal():
            raise ValueError(f":page wants a number, as in :page 3, got {words!r}")
        self.go_to(self._file, int(words))

    def _ask(self, question: str) -> None:
        question = check_question(question)
        with self._display.denoising() as on_step:
            answer = self.session.answer(
                self._page, question, decoding=self.decoding, seed=self._args.seed, on_step=on_step
            )
        self._answer = answer
        self._display.show_answer(answer.text, summary(answer))
        if answer.doubt is not None:
            note(answer.doubt)

    def _draw(self, words: str) -> None:
        out = check_picture(words or "kept.png", self._file)
        write_picture(self._last().heatmap(), out)
        print(f"drawn to {Path(out)}")

    def _tell_more(self, words: str) -> None:
        print(summary(self._last()))

    def _last(self) -> Answer:
        if self._answer is None:
            raise ValueError("nothing has been asked about this page yet; type a question first")
        return self._answer
