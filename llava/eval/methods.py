"""What an evaluation compares: SHIRG-X, LaViDa's own encoding, or a peer at the same total, each at some budgets."""

from dataclasses import dataclass
from typing import Literal

from shirg.baselines import BASELINES, Baseline
from shirg.config import ShirgXConfig

Budget = int | Literal["auto", "question"] | None
"""Detail tokens of SHIRG-X, by which a peer's total is reckoned; None for methods whose number is their own."""

SCALED_DOWN = "scaled_down"
METHODS = ("shirg_x", "stock", SCALED_DOWN, *BASELINES)
"""``scaled_down`` shrinks the page until the encoder cuts it into no more patches than SHIRG-X has tokens."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to encode pages, and the budgets to try it with.

    A peer gets as many tokens as SHIRG-X has with its scaffold, and the same coordinates; only its own way of spending
    them differs.

    Raises:
        ValueError: if there is no such method, it has no budgets to choose, one is not on offer, or they repeat.
    """

    name: str
    settings: ShirgXConfig
    """SHIRG-X's own, from which the peers' totals follow."""
    budgets: tuple[Budget, ...] = ()
    """None given: the settings' own."""

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise ValueError(f"there is no method {self.name!r}; use one of {', '.join(METHODS)}")
        if self.name == "stock":
            object.__setattr__(self, "settings", ShirgXConfig(mode="stock"))
        elif self.settings.mode == "stock":
            raise ValueError(f"the method {self.name} needs SHIRG-X, but the settings say mode: stock; choose stock")
        if self.name == "stock" or (self.baseline is not None and not self.baseline.budgeted):
            if self.budgets:
                raise ValueError(f"the method {self.name} has a number of tokens of its own; leave out the budget")
            object.__setattr__(self, "budgets", (None,))
            return
        if self.name == SCALED_DOWN and self.settings.resize == "pad":
            raise ValueError("the method scaled_down shows the whole view, which resize: pad leaves in part blank")
        object.__setattr__(self, "budgets", tuple(self.budgets) or (self.settings.budget,))
        for budget in self.budgets:
            self.settings.replace(budget=budget)
            self._check_total(budget)
        if "question" in self.budgets and self.baseline is not None and "attention" in self.baseline.needs:
            raise ValueError(f"the method {self.name} has no relevance to a question; give it a number as its budget")
        if len(set(self.budgets)) < len(self.budgets):
            raise ValueError(f"each budget can be given once, got {', '.join(map(str, self.budgets))}")

    def _check_total(self, budget: Budget) -> None:
        """Refuse a peer without a scaffold that would have to spend more tokens on detail than there are patches."""
        spends_all = self.name == SCALED_DOWN or (self.baseline is not None and not self.baseline.scaffold)
        if not spends_all or not isinstance(budget, int):
            return
        if (total := budget + self.scaffold_tokens) > self.settings.num_patches:
            raise ValueError(
                f"at budget {budget} the method {self.name} would keep {total} of {self.settings.num_patches} patches; "
                "choose a smaller budget"
            )

    @property
    def baseline(self) -> Baseline | None:
        """The peer; None for SHIRG-X and for LaViDa's own encoding."""
        return BASELINES.get(self.name)

    @property
    def patch_settings(self) -> ShirgXConfig:
        """What to patch the model with: a peer decides about the scaffold, and may read the tower's attention."""
        first = "auto" if "auto" in self.budgets else self.budgets[0] or self.settings.budgets[0]
        settings = self.settings.replace(budget=first)
        if self.name == SCALED_DOWN:
            return settings.replace(scaffold=False)
        if self.baseline is None:
            return settings
        settings = settings.replace(scaffold=self.baseline.scaffold)
        if "attention" not in self.baseline.needs:
            return settings
        # VisionZip, VisPruner and SCOPE read the layer whose output the projector gets.
        return settings.replace(similarity="attention", attention_layer="selected")

    @property
    def scaffold_tokens(self) -> int:
        """What SHIRG-X shows of a page beside its budget."""
        return self.settings.scaffold_tokens if self.settings.scaffold else 0

    @property
    def directories(self) -> dict[Budget, str]:
        """Where, inside the output directory, the results of each budget go: right there if there is only one."""
        return {budget: "." if len(self.budgets) == 1 else f"budget-{budget}" for budget in self.budgets}
