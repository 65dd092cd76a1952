"""The names of Dream's public sampler, and what they ask of this package's decoding."""

from collections.abc import Mapping
from typing import Any

from llava.model.language_model.diffusion.decoding import SCHEDULES, DecodingConfig

ALGORITHMS = {"entropy": "entropy", "maskgit_plus": "low_confidence", "topk_margin": "margin", "origin": "share"}
"""By their public names, which positions are settled first."""
PUBLIC_SHIFT = 3.0
"""Of the ``shift`` schedule, where ``schedule_kwargs`` do not say."""


def read_settings(
    *,
    max_new_tokens: int = 128,
    steps: int = 512,
    step_ratio: float | None = None,
    schedule: str | None = None,
    schedule_kwargs: Mapping[str, Any] | None = None,
    alg: str = "entropy",
    alg_temp: float | None = 0.0,
    eps: float = 1e-3,
    temperature: float | None = 0.0,
    top_p: float | None = 0.95,
    top_k: int | None = None,
    prefix_lm: bool = False,
    block_length: int | None = None,
    step_per_block: int | None = None,
    **own: Any,
) -> DecodingConfig:
    """Settings under the public names and with the public defaults, by which released scores were made.

    Tokens are chosen, and their confidence judged, among the likeliest by ``top_p`` and ``top_k`` also at temperature
    0. Without a schedule, ``steps`` cut a time axis from 1 to ``eps``: with as many steps as tokens the first one
    settles nothing (with ``prefix_lm`` the first two), and ``step_ratio`` walks only the beginning of the axis and
    settles all the rest in its last step. A schedule of unknown name is ``linear``. Answers are one block:
    ``block_length`` and ``step_per_block`` are taken and do nothing.

    Args:
        alg: entropy, maskgit_plus (probability of the token), topk_margin, or origin (chance).
        alg_temp: draw the order of positions instead of taking the surest.
        own: further fields of ``DecodingConfig``.

    Raises:
        ValueError: for a setting out of range, or a ``step_ratio`` of more steps than there are.
    """
    if alg not in ALGORITHMS:
        raise ValueError(f"alg {alg!r} does not exist; use one of {', '.join(ALGORITHMS)}")
    for name, value in (("max_new_tokens", max_new_tokens), ("steps", steps)):
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")
    allowed = min(steps, max_new_tokens)
    taken = allowed if step_ratio is None else int(max_new_tokens * step_ratio)
    if not 1 <= taken <= allowed:
        raise ValueError(
            f"step_ratio={step_ratio} of max_new_tokens={max_new_tokens} is {taken} steps, but it must be 1 to "
            f"{allowed}; change it, or steps"
        )
    if schedule == "shift" and not schedule_kwargs:
        schedule_kwargs = {"shift": PUBLIC_SHIFT}
    return DecodingConfig(
        max_new_tokens=max_new_tokens,
        steps=taken,
        timesteps=allowed if schedule is None else None,
        schedule=schedule if schedule in (None, *SCHEDULES) else "linear",
        schedule_kwargs=schedule_kwargs,
        remasking=ALGORITHMS[alg],
        order_temperature=alg_temp or 0.0,
        eps=eps,
        temperature=temperature or 0.0,
        top_p=top_p,
        top_k=top_k or None,
        prefix_lm=prefix_lm,
        **own,
    )
