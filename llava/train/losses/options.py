"""What losses leave open beside their weights."""

from dataclasses import dataclass

from shirg.settings import Settings

TEACHERS = ("boxes", "attention", "gate")
"""Of the learned relevance: true boxes of drawn pages, the denoiser's attention, or a noise gate on its own loss."""
BUDGET_TEACHERS = ("losses", "evidence")
"""Of the budget head: the denoising losses at each budget, or what of the evidence of drawn pages each one keeps."""


@dataclass(frozen=True, kw_only=True)
class LossOptions(Settings):
    """Choices of single losses.

    Raises:
        ValueError: if a number is out of range, or a choice does not exist.
    """

    prefix_lm: bool = False
    """Hide the answer from the prompt, as decoding from a cache does. Released weights were trained without."""
    reweight: bool = False
    """Weigh tokens by 1 / p (LLaDA) instead of all alike (LaViDa)."""
    budget_teacher: str = "losses"
    """One of ``BUDGET_TEACHERS``."""
    budget_every: int = 50
    """Steps between measurements of the budgets' losses; evidence costs no pass of the language model, and is looked
    for in every step."""
    budget_memory: int = 16
    """Measurements that the budget head goes on learning from in the steps between: measuring is dear and the head is
    small. 1 learns from the last one alone."""
    budget_draws: int = 4
    """Noise draws that a measurement averages over."""
    budget_slack: float = 0.02
    """A budget will do when its loss, or the share of questions whose evidence it keeps, is within this share of the
    best one's. More of it weighs tokens higher, and keeps small losses from deciding by their last digits."""
    relevance_teacher: str = "attention"
    """One of ``TEACHERS``."""
    relevance_into_tower: bool = False
    """Let the relevance teach the tower and the word embeddings too, where these train, and not its own maps alone."""
    grounding_layers: tuple[int, ...] = (0,)
    """Layers of the language model whose attention is taught where questions look."""
    grounding_heads: int = 2
    """Heads of each that are taught."""
    pointing_layers: tuple[int, ...] = (1, 2)
    """Layers whose attention is taught where answers look, or distilled from. Their heads look for the characters of
    the slots of patches, the first head for those of the first slot."""

    def __post_init__(self) -> None:
        self.check_number("budget_slack")
        for name, least in (
            *(("budget_every", 1), ("budget_memory", 1)),
            *(("budget_draws", 4), ("grounding_heads", 1)),
        ):
            self.check_count(name, least)
        for name in ("prefix_lm", "reweight", "relevance_into_tower"):
            self.check_switch(name)
        self.check_choice("relevance_teacher", TEACHERS)
        self.check_choice("budget_teacher", BUDGET_TEACHERS)
        for name in ("pointing_layers", "grounding_layers"):
            layers = getattr(self, name)
            if not isinstance(layers, list | tuple) or not layers or any(type(layer) is not int for layer in layers):
                raise ValueError(f"{name} must be a list of at least one layer's number, got {layers!r}")
            object.__setattr__(self, name, tuple(layers))
