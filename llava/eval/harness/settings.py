"""A model as it is named to a harness: ``name=value,name=value``."""

from dataclasses import dataclass
from typing import Literal, no_type_check

from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import DECODINGS
from llava.seeds import MAX_SEED
from shirg.settings import Settings

_COUNTS = {"tokens": 1, "batch_size": 1, "seed": 0}


@no_type_check  # wrong types must reach __post_init__, whose messages say what to mend
@dataclass(frozen=True, kw_only=True)
class HarnessSettings(Settings):
    """The model's arguments: ``--model_args`` of lmms-eval, ``--model-args`` of ``scripts.eval_vlmeval``.

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
    def parse(cls, text: str, *, batch_size: object = None, device: str | None = None) -> "HarnessSettings":
        """Read ``name=value,name=value``.

        Args:
            batch_size: the harness's own option, which counts where the text says nothing. lmms-eval always passes
                one, so that it cannot be known whether somebody asked for it.
            device: the same; None where the harness was not told any.

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
