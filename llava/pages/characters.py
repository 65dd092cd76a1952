"""The characters that pages may be printed with, and as which of them any other is read."""

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PLAIN = "".join(map(chr, range(33, 127)))
"""The characters of ASCII, which every face of type has."""
_SIGNS = "¡¢£¥§©«®°±²³µ¶·»¼½¾¿×÷€™•…"
_LETTERS = "".join(chr(code) for code in range(0xC0, 0x100) if chr(code).isalpha())
_MORE_LETTERS = "ĀāĂăĄąĆćČčĎďĐđĒēĖėĘęĚěĞğĢģĪīĮįİıĶķĹĺĻļĽľŁłŃńŅņŇňŌōŐőŒœŔŕŘřŚśŞşŠšŢţŤťŪūŮůŰűŲųŹźŻżŽžȘșȚț"
CHARACTERS = PLAIN + _SIGNS + _LETTERS + _MORE_LETTERS
"""Every character that may be printed; an index into it is a class of the losses that teach reading."""

NONE = -1
"""Class of what is none of them: blanks, and other scripts."""

_LIKE = {"‘": "'", "’": "'", "‚": ",", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-"}
_LIKE |= {"‹": "<", "›": ">", "′": "'", "″": '"', "⁄": "/", "∙": "·", "●": "•", "▪": "•"}
_CODES = {character: index for index, character in enumerate(CHARACTERS)}


@lru_cache(maxsize=65536)
def character_class(character: str) -> int:
    """The class of one character; typographic quotes and dashes are read as the plain ones.

    ``NONE`` for blanks and for characters that are not among ``CHARACTERS`` in any form.
    """
    if character in _CODES:
        return _CODES[character]
    if character in _LIKE:
        return _CODES.get(_LIKE[character], NONE)
    # A ligature or a letter of another width is several plain characters, or one; only one has a class.
    plain = unicodedata.normalize("NFKC", character)
    return _CODES.get(plain, NONE) if len(plain) == 1 else NONE


def character_classes(text: str) -> NDArray[np.int64]:
    """(characters,) int64, the class of each."""
    return np.array([character_class(character) for character in text], dtype=np.int64)
