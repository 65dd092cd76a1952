"""What lmms-eval says in words, as settings: the model's arguments, a task's generation settings, its pictures.

Nothing here needs lmms-eval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, no_type_check

from PIL import Image

from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import DECODINGS, find_decoding
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.seeds import MAX_SEED
from shirg.settings import Settings

_COUNTS = {"tokens": 1, "batch_size": 1, "seed": 0}
_DECODING_NAMES = frozenset(field.name for field in fields(DecodingConfig))
_IDLE = {"num_beams": (1,), "repetition_penalty": (1,), "top_p": (0, 1), "top_k": (0,)}
"""Settings of other decoders, with the values at which they change nothing."""


@no_type_check  # wrong types must reach __post_init__, whose messages say what to mend
@dataclass(frozen=True, kw_only=True)
class LmmsSettings(Settings):
    """The model's arguments, ``--model_args`` of lmms-eval.

    Raises:
        ValueError: if one is unknown, out of range, or contradicts another.
    """

    pretrained: str = str(BUNDLED_MODEL)
    """A checkpoint's directory or hub id."""
    revision: str | None = None
    adapter: str | None = None
    """An adapter's directory, merged while loading."""
    shirg: str | None = None
    """A YAML file of SHIRG-X's settings; else the adapter's, the checkpoint's or the defaults."""
    budget: int | Literal["auto", "question"] | None = None
    """Detail tokens; None for what the settings say."""
    tiles: str | None = None
    """Views that a page is cut into: ``1``, ``3x2`` or ``auto``; None for what the settings say."""
    mode: Literal["shirg_x", "stock"] | None = None
    """``stock`` is LaViDa's own encoding; None for what the settings say."""
    device: str = "auto"
    dtype: str = "auto"
    tokens: int | None = None
    """Answer positions, in place of every task's own ``max_new_tokens``. They are a canvas and no mere limit: another
    number may give other answers."""
    batch_size: int = 1
    """Questions denoised together; it changes no answer but by rounding."""
    seed: int = 0
    """Of denoising that draws at random."""
    decoding: Literal["fast", "exact", "one-per-step"] = "fast"
    """How answers are denoised; a task's own settings come on top."""

    def __post_init__(self) -> None:
        for name in ("pretrained", "device", "dtype"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} must be a text, got {getattr(self, name)!r}")
        self.check_choice("decoding", tuple(DECODINGS))
        for name, least in _COUNTS.items():
            if getattr(self, name) is not None or name != "tokens":
                self.check_count(name, least)
        if self.seed > MAX_SEED:
            raise ValueError(f"seed must lie between 0 and {MAX_SEED}, got {self.seed}")
        if self.mode is not None:
            self.check_choice("mode", ("shirg_x", "stock"))
        if self.mode == "stock":
            for name in ("shirg", "budget", "tiles"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} belongs to SHIRG-X, which mode=stock does without; leave one of them out")

    @classmethod
    def parse(cls, text: str, *, batch_size: object = None, device: str | None = None) -> "LmmsSettings":
        """Read ``name=value,name=value``.

        Args:
            batch_size: lmms-eval's own option, which counts where the text says nothing. lmms-eval always passes
                one, so that it cannot be known whether somebody asked for it.
            device: the same; None where lmms-eval was not told any.

        Raises:
            ValueError: as the class, and if the text is not of this form.
        """
        words = {} if batch_size is None else {"batch_size": str(batch_size)}
        words |= {} if device is None else {"device": device}
        given: set[str] = set()
        for part in filter(None, map(str.strip, text.split(","))):
            name, found, value = part.partition("=")
            if not found or not value:
                raise ValueError(f"model arguments are name=value,name=value (a value holds no comma), got {part!r}")
            if name in given:
                raise ValueError(f"{name} is given twice; leave one of them out")
            given.add(name)
            words[name] = value
        numbers = {*_COUNTS, "budget"} & words.keys()
        # Only what must be a number is read as one: a directory may be called 7 or 1e5.
        return cls.from_dict({**words, **{name: _number(words[name]) for name in numbers}})

    def checkpoint(self) -> Checkpoint:
        """The model, its adapter and how to choose tokens; reads their settings, not the weights.

        Raises:
            FileNotFoundError: if there is no such checkpoint, adapter or settings file.
            ValueError: if settings are wrong or contradict each other.
        """
        changes = {name: value for name in ("mode", "budget", "tiles") if (value := getattr(self, name)) is not None}
        checkpoint = Checkpoint.resolve(
            self.pretrained, revision=self.revision, adapter=self.adapter, settings=self.shirg, changes=changes
        )
        for name in ("budget", "tiles"):
            if checkpoint.shirg.mode == "stock" and getattr(self, name) is not None:
                raise ValueError(f"{name} belongs to SHIRG-X, but the settings say mode: stock; leave it out")
        return checkpoint


def _number(word: str) -> int | str:
    """A whole number where it is one; other words are left to be refused, or to mean ``auto``."""
    return int(word) if word.isascii() and word.isdecimal() else word


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


def only_image(visuals: Sequence[object] | None, where: str) -> Image.Image:
    """The one picture of a request.

    Args:
        visuals: what the task's ``doc_to_visual`` gives.
        where: names the request in messages.

    Raises:
        ValueError: if there is none, there are several, or it is no image.
    """
    visuals = [] if visuals is None else list(visuals)
    if len(visuals) != 1:
        raise ValueError(
            f"{where} shows {len(visuals) or 'no'} images, but lavida answers questions about exactly one; "
            "choose tasks that show one, such as chartqa or docvqa_val"
        )
    (image,) = visuals
    if not isinstance(image, Image.Image):
        raise ValueError(f"{where} shows a {type(image).__name__}, but lavida reads images only; choose another task")
    return image


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
