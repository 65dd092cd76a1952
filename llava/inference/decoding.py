"""How answers are denoised wherever this project gives them: three ways, by name."""

from dataclasses import replace
from typing import Any, Literal

from llava.model.language_model.diffusion.decoding import DecodingConfig

_CACHED = DecodingConfig(max_new_tokens=32, prefix_lm=True, stop_at_end_of_turn=True)
"""Short answers from a cached prompt."""

DECODINGS = {
    "fast": replace(_CACHED, threshold=0.95),
    "exact": replace(_CACHED, schedule="shift", lookahead=3),
    "one-per-step": replace(_CACHED, schedule="shift"),
}
"""``fast``: everything surer than 0.95 is settled at once, and an end of turn settles what is behind it.
``one-per-step``: LaViDa's order, one position a step, or as ``steps`` and ``schedule`` plan it.
``exact``: the answer of ``one-per-step``, with steps drafted ahead and verified in fewer forwards."""

DECODING = DECODINGS["fast"]
"""Unless somebody wants it otherwise."""

Decoding = DecodingConfig | Literal["fast", "exact", "one-per-step"]
"""A way by its name, or settings."""


def find_decoding(way: Decoding | str, **changes: Any) -> DecodingConfig:
    """The settings of a way by its name, or settings as they are; with changes.

    Raises:
        ValueError: if there is no such way, or the changes do not fit it.
        TypeError: for something that is no name and no settings.
    """
    if isinstance(way, DecodingConfig):
        return replace(way, **changes)
    if not isinstance(way, str):
        raise TypeError(f"decoding is a name or a DecodingConfig, but this is {type(way).__name__}: {way!r}")
    if way not in DECODINGS:
        raise ValueError(f"decoding {way!r} does not exist; use one of {', '.join(DECODINGS)}")
    return replace(DECODINGS[way], **changes)
