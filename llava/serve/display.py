"""What people see: answers as they form, tables, and notes beside them.

Answers go to stdout; notes and progress go to stderr, so that a pipe holds answers only.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from llava.inference.words import one_line, printable

if TYPE_CHECKING:
    from llava.model.language_model.diffusion.progress import DenoisingStep

MASK_BLOCK = "\N{MEDIUM SHADE}"
FRAMES_PER_SECOND = 15
PLAIN_WIDTH = 110
"""Columns of a table that is not shown on a terminal."""


def stdout_console() -> Console:
    """A console for stdout, wide enough for tables in a file or pipe."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def note(message: str) -> None:
    """One line on stderr."""
    print(f"lavida: {one_line(message)}", file=sys.stderr)


def print_json(record: Mapping[str, Any]) -> None:
    """One object on one line, in ASCII, which every pipe can carry."""
    print(json.dumps(record), flush=True)


def print_row(*words: str) -> None:
    """One line on stdout with a tab between the words, for other programs to read."""
    print(_encodable("\t".join(one_line(word) for word in words)), flush=True)


def working(what: str) -> AbstractContextManager[object]:
    """A spinner on stderr while something slow happens, if someone watches."""
    return Console(stderr=True).status(what) if sys.stderr.isatty() else nullcontext()


class AnswerDisplay:
    """Shows questions and answers: on a terminal while the answers form, elsewhere one line per answer."""

    def __init__(self, decode: Callable[[Sequence[int]], str], *, mask_id: int, console: Console | None = None) -> None:
        self.decode, self.mask_id = decode, mask_id
        self.console = console or stdout_console()
        self.watched = self.console.is_interactive and (console is not None or sys.stdout.isatty())

    @contextmanager
    def denoising(self) -> Iterator[Callable[[DenoisingStep], None] | None]:
        """A context that gives the observer to pass to the model; None where nobody watches."""
        if not self.watched:
            yield None
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            shown, seen = 0.0, 0

            def show(step: DenoisingStep) -> None:
                nonlocal shown, seen
                # Reading the tokens waits for the device, which a fast model should not do in every step.
                if (now := time.monotonic()) - shown >= 1 / FRAMES_PER_SECOND:
                    shown = now
                    fresh = (step.progress.settled_in[0] > seen).tolist()
                    live.update(self.draw(step.tokens[0].tolist(), fresh, step.index, step.planned), refresh=True)
                    seen = step.index

            yield show

    def draw(self, tokens: Sequence[int], fresh: Sequence[bool], index: int, planned: int) -> Text:
        """An unfinished answer: its words, in bold type those just settled, a dim block for each position still masked,
        and the step.
        """
        text = Text()
        marked = zip(tokens, fresh, strict=True)
        for (masked, new), run in groupby(marked, lambda each: (each[0] == self.mask_id, each[1])):
            part = [token for token, _ in run]
            if masked:
                text.append(MASK_BLOCK * len(part), style="dim")
            else:
                text.append(printable(self.decode(part)), style="bold" if new else "")
        return text.append(f"  step {index} of {planned}", style="dim")

    def show_question(self, question: str) -> None:
        if self.watched:
            self.console.print(Text(printable(question), style="bold"))

    def show_answer(self, answer: str, summary: str) -> None:
        """The finished answer; the summary is for a terminal only."""
        if not self.watched:
            print(_encodable(one_line(answer)), flush=True)
            return
        self.console.print(Text(printable(answer)))
        self.console.print(Text(summary, style="dim"))


def _encodable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
