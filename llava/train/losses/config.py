"""Which losses a stage trains on, and how much each weighs."""

from dataclasses import dataclass

from torch import Tensor

from shirg.settings import Settings

Parts = dict[str, tuple[Tensor, Tensor]]
"""Per loss, its sum (float32 scalar) and the number of things it sums over (whole scalar), added up over processes."""

PAGE_LOSSES = ("reading", "alignment", "labeling", "pointing", "grounding", "speaking")
"""Losses that need drawn pages, whose patches and answers have known places."""
TEACHERS = ("boxes", "attention", "gate")
"""Of the learned relevance: true boxes of drawn pages, the denoiser's attention, or a noise gate on its own loss."""


@dataclass(frozen=True, kw_only=True)
class LossConfig(Settings):
    """Weights of the losses; 0 leaves one out.

    Raises:
        ValueError: if a weight is negative, or a choice does not exist.
    """

    denoising: float = 1.0
    """LaViDa's objective. 0 runs no language model: a stage that teaches only the tower and the projector."""
    prefix_lm: bool = False
    """Hide the answer from the prompt, as decoding from a cache does. Released weights were trained without."""
    reweight: bool = False
    """Weigh tokens by 1 / p (LLaDA) instead of all alike (LaViDa)."""
    coordinate: float = 0.1
    """Boxes read from projected detail tokens."""
    budget: float = 0.1
    """The budget head's cross-entropy with measured labels."""
    budget_every: int = 50
    """Steps between measurements."""
    budget_draws: int = 4
    """Noise draws that a measurement averages over."""
    budget_slack: float = 0.02
    """A budget will do when its loss is within this share of the best one's. More of it weighs tokens higher, and keeps
    small losses from deciding by their last digits."""
    relevance: float = 0.1
    """The learned relevance's teacher, where the similarity is ``learned``."""
    relevance_teacher: str = "attention"
    """One of ``TEACHERS``."""
    reading: float = 0.0
    """Naming what every patch of a drawn page shows, from vision features."""
    alignment: float = 0.0
    """The same in the language model's words, as it reads and as it says them, from projected features."""
    labeling: float = 0.0
    """Attention of the vision tower from every patch of a drawn page to the labels of its row and its column."""
    pointing: float = 0.0
    """Attention from answer positions to what the answer is read from, on drawn pages."""
    grounding: float = 0.0
    """Attention from every word of the question to the patches that show what it names, and from answer positions to
    those words, on drawn pages."""
    speaking: float = 0.0
    """What each head of ``pointing_layers`` would pass on of a patch: the word for what it shows. An answer's tokens
    then each point with one head, that of their place in their word."""
    grounding_layers: tuple[int, ...] = (0,)
    """Layers whose attention is taught this; their heads are as many as ``pointing_heads``."""
    pointing_layers: tuple[int, ...] = (1, 2)
    """Layers whose attention is taught, or distilled from."""
    pointing_heads: int = 2
    """Heads of each that are taught."""

    def __post_init__(self) -> None:
        for name in ("denoising", "coordinate", "budget", "budget_slack", "relevance", *PAGE_LOSSES):
            self.check_number(name)
        for name, least in (("budget_every", 1), ("budget_draws", 4), ("pointing_heads", 1)):
            self.check_count(name, least)
        for name in ("prefix_lm", "reweight"):
            self.check_switch(name)
        self.check_choice("relevance_teacher", TEACHERS)
        for name in ("pointing_layers", "grounding_layers"):
            layers = getattr(self, name)
            if not isinstance(layers, list | tuple) or not layers or any(type(layer) is not int for layer in layers):
                raise ValueError(f"{name} must be a list of at least one layer's number, got {layers!r}")
            object.__setattr__(self, name, tuple(layers))
        if not self.denoising and (self.looks or not (self.reading or self.alignment)):
            raise ValueError(
                "without denoising there must be reading or alignment to learn, and no pointing, grounding or speaking"
            )

    @property
    def looks(self) -> bool:
        """Whether attention of the language model is taught."""
        return self.pointing > 0 or self.grounding > 0 or self.speaking > 0

    @property
    def watched_layers(self) -> tuple[int, ...]:
        """Layers of the language model whose attention is taught, ascending."""
        pointing = self.pointing_layers if self.pointing or self.speaking else ()
        return tuple(sorted({*pointing, *(self.grounding_layers if self.grounding else ())}))
