"""What a task of lmms-eval says in words, as settings. Nothing here needs lmms-eval."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llava.inference.decoding import find_decoding
from llava.model.language_model.diffusion.decoding import DecodingConfig

_DECODING_NAMES = frozenset(field.name for field in fields(DecodingConfig)) - {"top_k", "top_p"}
"""Tasks set the last two for models that draw from what is left; here they would change the order of positions."""
_IDLE = {"num_beams": (1,), "repetition_penalty": (1,), "top_p": (0, 1), "top_k": (0,)}
"""Settings of other decoders, with the values at which they change nothing."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How a task wants its answers."""

    decoding: DecodingConfig
    until: tuple[str, ...] = ()
    """An answer ends before the first of these."""
    ignored: tuple[str, ...] = ()
    """Settings with an effect elsewhere and none here, as ``name=value``."""

    @classmethod
    def of(cls, values: Mapping[str, Any], tokens: int | None = None, way: str = "fast") -> "Generation":
        """From a task's ``generation_kwargs`` with the changes of ``--gen_kwargs``.

        Fields of ``DecodingConfig`` are taken as they are, so ``--gen_kwargs steps=16`` is a way to choose them.
        ``temperature`` and ``do_sample`` mean what they mean to transformers. Settings of other decoders are named in
        ``ignored`` unless they change nothing anyway: the task was not written for this model, and can still be run.

        Args:
            tokens: answer positions, in place of the task's; None for the task's or 32.
            way: ``fast``, ``exact`` or ``one-per-step``, which the values change.

        Raises:
            ValueError: if a setting is wrong.
        """
        values = dict(values)
        until = values.pop("until", None) or ()
        until = (until,) if isinstance(until, str) else tuple(until)
        if not all(isinstance(word, str) for word in until):
            raise ValueError(f"until must be a text or a list of texts, got {until!r}")
        temperature = values.pop("temperature", None)
        sampled = values.pop("do_sample", None)
        if temperature is not None and (isinstance(temperature, bool) or not isinstance(temperature, int | float)):
            raise ValueError(f"temperature must be 0 or a positive number, got {temperature!r}")
        if sampled is None:
            sampled = bool(temperature)
        if not isinstance(sampled, bool):
            raise ValueError(f"do_sample must be true or false, got {sampled!r}")
        if sampled:
            values["temperature"] = 1.0 if temperature is None else temperature
        if tokens is not None:
            values["max_new_tokens"] = tokens
        known = {name: value for name, value in values.items() if name in _DECODING_NAMES}
        ignored = tuple(
            f"{name}={value}"
            for name, value in values.items()
            if name not in known and value is not None and value not in _IDLE.get(name, ())
        )
        return cls(decoding=find_decoding(way, **known), until=tuple(filter(None, until)), ignored=ignored)

    @property
    def random(self) -> bool:
        """Whether denoising draws at random, so that the seed matters."""
        return self.decoding.random

    def cut(self, answer: str) -> str:
        """The answer before the first of ``until``, without surrounding space."""
        for word in self.until:
            answer = answer.split(word, 1)[0]
        return answer.strip()


def process_device(device: str, processes: int, own: str) -> str:
    """Where the model of one process goes.

    Args:
        device: what was asked for.
        processes: how many there are, each with a model of its own.
        own: what the launcher gave to this process.

    Raises:
        ValueError: if several processes would share a GPU.
    """
    if processes == 1 or device == "cpu":
        return device
    if device != "auto":
        raise ValueError(f"device={device} would put the models of {processes} processes on one GPU; use device=auto")
    return own
