"""What all metrics agree on before they compare: which strings they get, and when two spellings are one."""

import unicodedata
from collections.abc import Sequence


def plain(text: str) -> str:
    """The text in lower case, with composed accents, single spaces and none at its ends.

    Unicode spells an accented letter as one character or as two; an edit distance must not charge for that.
    """
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def check_golds(golds: Sequence[str]) -> None:
    """Refuse what would be scored without complaint and mean nothing.

    Raises:
        ValueError: if there is no gold answer, or a bare string stands where a list of them belongs.
    """
    if isinstance(golds, str):
        raise ValueError(f"golds must be a list of answers, got the string {golds!r}; write [{golds!r}]")
    if not golds:
        raise ValueError("golds holds no answer to compare with; give at least one")
