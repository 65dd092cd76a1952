"""The configuration of a training run: one YAML file, one frozen value, everything checked before a model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, no_type_check

from llava.data.infill import InfillConfig
from llava.data.page_config import PagesConfig
from llava.data.real_sets import REAL_SETS
from llava.train.arguments import WITHOUT_EFFECT, read_trainer
from llava.train.losses.config import LossConfig
from llava.train.losses.registry import LOSSES
from llava.tuning.config import TrainableConfig
from shirg.config import ShirgXConfig
from shirg.parts import PARTS
from shirg.settings import AnySettings, Settings


@dataclass(frozen=True, kw_only=True)
class RealSetConfig(Settings):
    """A public set to train on.

    Raises:
        ValueError: if no set has this name.
    """

    name: str
    """One of ``REAL_SETS``."""
    location: str | None = None
    """The directory it was downloaded to; without it a table is fetched from the hub."""
    sampling_strategy: str = "all"
    """As for a dataset of a mixture: ``random:10%``, ``first:1000``."""
    weight: float = 1.0
    """How often each of its records comes in an epoch: 2 is twice, 0.5 half of them."""

    def __post_init__(self) -> None:
        self.check_choice("name", tuple(REAL_SETS))
        self.check_number("weight")
        if not self.weight:
            raise ValueError("weight must be above 0; leave the set out instead")


def _read_real_sets(listed: Sequence[Any]) -> tuple[RealSetConfig, ...]:
    sets = []
    for number, value in enumerate(listed, 1):
        try:
            sets.append(RealSetConfig.from_dict(value) if isinstance(value, Mapping) else value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"real, set {number}: {error}") from error
    if not sets or not all(isinstance(one, RealSetConfig) for one in sets):
        raise ValueError(f"real must be a section of 'name: value' lines or a list of such, got {listed!r:.80}")
    names = [one.name for one in sets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"real: {twice[0]} is listed twice; list it once, with a weight of 2")
    return tuple(sets)


@no_type_check  # sections arrive as plain mappings and leave __post_init__ as what they describe
@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """One stage of training.

    Raises:
        ValueError: if a section or a setting is unknown or wrong; the message says in which section.
    """

    model: str
    """Checkpoint to start from: a directory or a hub repository."""
    out: str
    """Where checkpoints, logs and the result go."""
    dtype: str = "auto"
    """Precision of the loaded weights: ``auto`` as stored, ``float32`` or ``bfloat16``."""
    seed: int = 0
    """Of masks, noise, budgets, new weights and the order of the data."""
    pages: PagesConfig | None = None
    """Drawn pages to train on; or give ``mixture`` or ``real``."""
    mixture: str | None = None
    """A LLaVA list of conversations (JSON, JSONL) or a YAML file naming several."""
    images: str | None = None
    """Folder of the mixture's images, where the list does not say."""
    real: RealSetConfig | tuple[RealSetConfig, ...] | None = None
    """A public set to train on, or a list of several."""
    held_out: int = 0
    """Records of each source of the mixture or the real set that are not trained on, and asked at every evaluation."""
    validation: PagesConfig | None = None
    """Drawn pages to answer during training."""
    validation_budgets: tuple[int | Literal["auto", "question"], ...] = ("auto",)
    """Budgets to answer them with; the first decides which checkpoint is the best."""
    shirg_x: ShirgXConfig | None = None
    """SHIRG-X's settings; without, LaViDa's own encoding of images is trained."""
    fresh: tuple[str, ...] = ()
    """Parts of SHIRG-X to start anew, whatever the checkpoint has: ``coordinates``, ``budget_head``, ``relevance``."""
    train_budgets: tuple[int, ...] = ()
    """Budgets drawn in training, one per step; those of ``shirg_x`` when not given."""
    random_selection: float = 0.0
    """Share of steps in which tokens are chosen at random, so that the model learns to read whatever it is shown."""
    told_truth: float = 0.0
    """Share of steps, shrinking to none at the end of the run, in which the language model is told what is relevant in
    truth: it learns to copy what it is told of before the relevance has learned to tell."""
    trainable: TrainableConfig = field(default_factory=TrainableConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    answers: str = "tokens"
    """How answers are written: in the tokenizer's ``tokens``, or ``spelled``, each character by itself, which a small
    model can read off a page."""
    answer_block: int = 32
    """Answers are padded with end-of-text to a multiple of this."""
    max_extra_blocks: int = 0
    """LaViDa's random extra: up to so many more blocks of end-of-text behind answers."""
    infill: InfillConfig = field(default_factory=InfillConfig)
    """Gaps opened in answers, for a model that fills gaps of unknown length."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: slower, with far less memory."""
    max_missing_images: float = 0.05
    """Share of the images of a mixture or a real set that may be missing; a run with more does not begin."""
    max_bad_steps: int = 3
    """Steps in a row whose loss or gradient is no number, after which a run ends; such a step changes no weight."""
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Fields of transformers' TrainingArguments: steps, batch, learning rate schedule, DeepSpeed, logging."""

    def __post_init__(self) -> None:
        if isinstance(self.real, list | tuple):
            object.__setattr__(self, "real", _read_real_sets(self.real))
        for name, kind in _SECTIONS.items():
            value = getattr(self, name)
            if name == "real" and isinstance(value, tuple):
                continue
            if isinstance(value, Mapping):
                try:
                    object.__setattr__(self, name, kind.from_dict(value))
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{name}: {error}") from error
            elif value is not None and not isinstance(value, kind):
                raise ValueError(f"{name} must be a section of 'name: value' lines, got {value!r}")
        for name in ("model", "out"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} must be a path or a name, got {getattr(self, name)!r}")
        self.check_choice("dtype", ("auto", "float32", "bfloat16"))
        self.check_choice("answers", ("tokens", "spelled"))
        self.check_count("seed", 0)
        self.check_count("answer_block", 1)
        self.check_count("max_extra_blocks", 0)
        self.check_count("max_bad_steps", 1)
        self.check_count("held_out", 0)
        self.check_number("max_missing_images", 0.0, 1.0)
        for name in ("random_selection", "told_truth"):
            self.check_number(name)
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a share of steps, from 0 to 1, got {getattr(self, name)!r}")
        self.check_choice("gradient_checkpointing", (True, False))
        if sum(source is not None for source in (self.pages, self.mixture, self.real)) != 1:
            raise ValueError("give exactly one of pages, mixture and real: what to train on")
        if self.held_out and self.pages is not None:
            raise ValueError("held_out is of a mixture or a real set; drawn pages have validation: {split: validation}")
        if self.answers == "spelled" and self.pages is None:
            raise ValueError("answers: spelled is of drawn pages; leave it out")
        if self.images is not None and self.mixture is None:
            raise ValueError("images is the folder of a mixture, which is not given; leave it out")
        self._check_losses()
        self._check_stored()
        self._check_budgets()
        self.check_pairs("trainer")
        object.__setattr__(self, "trainer", read_trainer(self.trainer, own=_OWN, unread=WITHOUT_EFFECT))

    def _check_losses(self) -> None:
        losses = self.losses
        learns = self.shirg_x is not None and (
            self.shirg_x.similarity == "auto" or self.shirg_x.source.weights is not None
        )
        asked = [*losses.page_losses]
        if learns and losses.weight("relevance") and losses.relevance_teacher == "boxes":
            asked.append("relevance_teacher: boxes")
        if asked and self.pages is None:
            raise ValueError(f"losses: {asked[0]} needs drawn pages; a mixture or a real set knows no places")
        if self.told_truth and self.pages is None:
            raise ValueError("told_truth needs drawn pages; a mixture or a real set knows no places")
        if self.told_truth and self.shirg_x is not None and self.shirg_x.similarity != "matched":
            raise ValueError(
                f"told_truth needs similarity: matched, got {self.shirg_x.similarity}; others tell nothing"
            )
        if asked and self.shirg_x is None:
            raise ValueError(f"losses: {asked[0]} needs shirg_x, which is not given")

    def _check_stored(self) -> None:
        if self.pages is None or self.pages.stored is None:
            return
        if self.shirg_x is None:
            raise ValueError("pages: stored keeps what SHIRG-X chooses from; give shirg_x, or leave it out")
        running = [name for name in ("tower", "budget_head") if self.trainable.trains(name)]
        if running:
            raise ValueError(
                f"pages: stored pages run no tower, so {running[0]} cannot train; list trainable.groups without it"
            )
        asked = [name for name in self.losses.active if LOSSES[name].runs_tower]
        if asked:
            raise ValueError(f"losses: {asked[0]} runs the tower, but pages are stored; set it to 0")

    def _check_budgets(self) -> None:
        for name in ("train_budgets", "validation_budgets"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.fresh, list | tuple) or not set(self.fresh) <= set(PARTS):
            raise ValueError(f"fresh must list parts of SHIRG-X ({', '.join(PARTS)}), got {self.fresh!r}")
        object.__setattr__(self, "fresh", tuple(self.fresh))
        if self.shirg_x is None:
            for name in ("fresh", "train_budgets", "random_selection", "told_truth"):
                if getattr(self, name):
                    raise ValueError(f"{name} belongs to shirg_x, which is not given")
            return
        patches = self.shirg_x.num_patches
        for budget in self.train_budgets:
            if type(budget) is not int or not 1 <= budget <= patches:
                raise ValueError(f"train_budgets must lie from 1 to the {patches} patches, got {budget!r}")
        for asked in self.validation_budgets:
            if asked not in ("auto", "question") and (type(asked) is not int or not 1 <= asked <= patches):
                raise ValueError(f"validation_budgets must be auto, question or from 1 to {patches}, got {asked!r}")

    @property
    def real_sets(self) -> tuple[RealSetConfig, ...]:
        """The public sets, however many they are."""
        return self.real if isinstance(self.real, tuple) else () if self.real is None else (self.real,)

    @property
    def weights(self) -> dict[str, float]:
        """How often the records of each source come in an epoch, where that is said."""
        return {real.name: real.weight for real in self.real_sets}

    @property
    def drawn_budgets(self) -> tuple[int, ...]:
        """The budgets that training draws from; empty without SHIRG-X."""
        return self.train_budgets or (self.shirg_x.budgets if self.shirg_x is not None else ())

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values that YAML and JSON can hold."""
        plain: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if hasattr(value, "to_dict"):
                value = value.to_dict()
            if isinstance(value, tuple):
                value = [part.to_dict() if isinstance(part, Settings) else part for part in value]
            plain[entry.name] = dict(value) if isinstance(value, Mapping) else value
        return plain


_OWN = ("output_dir", "seed", "data_seed", "gradient_checkpointing", "activation_checkpointing")
"""Settings of transformers' trainer that are this configuration's own."""

_SECTIONS: dict[str, Any] = {
    "pages": PagesConfig,
    "validation": PagesConfig,
    "real": RealSetConfig,
    "shirg_x": ShirgXConfig,
    "trainable": TrainableConfig,
    "losses": LossConfig,
    "infill": InfillConfig,
}


def change_settings(config: AnySettings, changes: Mapping[str, Any]) -> AnySettings:
    """A configuration with single settings changed, each named by its path: ``trainable.rank``.

    Raises:
        ValueError: if a path leads nowhere, or a value is refused.
    """
    values = config.to_dict()
    for path, value in changes.items():
        *sections, name = path.split(".")
        place: Any = values
        for section in sections:
            if place.get(section) is None:
                place[section] = {}
            place = place[section]
            if not isinstance(place, dict):
                raise ValueError(f"there is no setting {path!r}: {section} is no section")
        place[name] = value
    return type(config).from_dict(values)
