"""Text that people write and text that goes to a terminal."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from llava.constants import DEFAULT_IMAGE_TOKEN

DEFAULT_GAP = 4
FILM_SUFFIXES = (".gif", ".webp")
"""What a film of an answer can be written as."""
_GAP = re.compile(r"\[(~?\d+|mask)\]")


def printable(text: str) -> str:
    """The text with control characters replaced: a model's answer or a file's name must not steer a terminal."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t" else char
        for char in text
    )


def check_film_name(path: str | Path) -> None:
    """Refuse a name that says no kind of film that can be written.

    Raises:
        ValueError: naming the kinds that can be.
    """
    if Path(path).suffix.lower() not in FILM_SUFFIXES:
        raise ValueError(f"a film is written as {' or '.join(FILM_SUFFIXES)}, but {path} does not end so; rename it")


def one_line(text: str) -> str:
    """The printable text on one line."""
    return printable(" ".join(text.split()))


def check_question(text: str) -> str:
    """The question without surrounding space.

    Raises:
        ValueError: if nothing is asked, it holds the image's placeholder, or it is no valid text.
        TypeError: if it is no text at all.
    """
    if not isinstance(text, str):
        raise TypeError(f"a question is a text, but this is {type(text).__name__}: {text!r}")
    question = text.strip()
    if not question:
        raise ValueError(f"the question {text!r} is empty; ask something")
    check_text(question, "question")
    return question


def check_text(text: str, kind: str) -> None:
    """Refuse text that stands for more than words; ``kind`` is what errors call it.

    Raises:
        ValueError: if it holds the image's placeholder, or is no valid text.
    """
    if DEFAULT_IMAGE_TOKEN in text:
        raise ValueError(f"the {kind} holds {DEFAULT_IMAGE_TOKEN}, which stands for the image itself; leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the {kind} {text!r} is not valid UTF-8; check the terminal's encoding") from error


@dataclass(frozen=True, kw_only=True)
class Blank:
    """A gap of a template."""

    tokens: int
    is_open: bool = False
    """Whether fewer words may fill it: the infilling token follows, as the infilling stage of training teaches."""


@dataclass(frozen=True)
class Template:
    """A text with gaps for the model to fill."""

    text: str
    pieces: tuple[str | Blank, ...]
    """Words that stay, and gaps."""

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read gaps written as ``[8]`` (tokens), ``[~8]`` (at most so many) or ``[mask]``.

        Raises:
            ValueError: if there is no gap, or one without tokens.
        """
        words_and_gaps = _GAP.split(text)
        if len(words_and_gaps) == 1:
            raise ValueError(
                f"the template {text!r} has no gap; mark one with [n], n tokens long, [~n], at most n, or [mask]"
            )
        check_text(text, "template")
        pieces: list[str | Blank] = []
        for index, piece in enumerate(words_and_gaps):
            if index % 2 == 0:
                if piece:
                    pieces.append(piece)
            elif piece == "mask":
                pieces.append(Blank(tokens=DEFAULT_GAP))
            elif (size := int(piece.removeprefix("~"))) > 0:
                pieces.append(Blank(tokens=size, is_open=piece.startswith("~")))
            else:
                raise ValueError(f"the template {text!r} has a gap of 0 tokens; write at least [1]")
        return cls(text=text, pieces=tuple(pieces))

    @property
    def num_masked(self) -> int:
        """Tokens of all gaps."""
        return sum(piece.tokens for piece in self.pieces if isinstance(piece, Blank))

    @property
    def instruction(self) -> str:
        """What the model is asked; it names the template's words, so that token selection looks for them."""
        blanked = "".join("____" if isinstance(piece, Blank) else piece for piece in self.pieces)
        return f"Fill in the blanks with what the image shows: {blanked.strip()}"
