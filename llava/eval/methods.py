"""How pages become image tokens in an evaluation: SHIRG-X, LaViDa's own way, or a peer at the same total."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from lavida_shirg_integration import EncodedPages, ShirgXHandle
from llava.inference.session import Page, Session
from llava.mm_utils import process_images, single_view
from llava.question import Question
from llava.seeds import stable_seed
from shirg.baselines import BASELINES, Baseline, scaled_down_side
from shirg.config import ShirgXConfig
from shirg.scoring import normalize_similarity
from shirg.tokens import TokenSet

Budget = int | Literal["auto"] | None
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefix:
    """What the language model is shown of a page."""

    tokens: Tensor
    """(tokens, width), projected."""
    detail: TokenSet | None
    """Tokens beside the scaffold, before the projector; None for LaViDa's own encoding."""

    @property
    def num_detail(self) -> int | None:
        """How many tokens stand beside the scaffold."""
        return None if self.detail is None else self.detail.lengths[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedPage:
    """A page before any question, and the prefixes that all its questions share."""

    name: str
    page: Page
    pixels: Tensor | None
    """(1, 3, side, side), for peers that read them."""
    image: Image.Image | None = None
    """For the peer that makes a smaller view of it."""
    shared: dict[Budget, Prefix] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class PageEncoder:
    """Encodes pages and chooses their tokens, each page by itself, so that no result depends on its batch.

    Args:
        session: a model patched with ``method.patch_settings``.
        seed: of choices at random, which also depend on the page's name and on nothing else.
    """

    session: Session
    method: Method
    seed: int = 0

    def encode(self, name: str, image: Image.Image) -> EncodedPage:
        """Everything that neither a question nor a budget changes."""
        pixels, baseline = None, self.method.baseline
        if baseline is not None and "pixels" in baseline.needs:
            (view,) = process_images([image], self.session.image_processor, self.session.model.config)
            pixels = view.to(self.session.model.device)
        shrinks = self.method.name == SCALED_DOWN
        return EncodedPage(name=name, page=self.session.encode(image), pixels=pixels, image=image if shrinks else None)

    @torch.no_grad()
    def choose(self, page: EncodedPage, question: Question, budget: Budget) -> Prefix:
        """The page's tokens for a question.

        Raises:
            ValueError: if the page has fewer patches than the budget asks for.
        """
        baseline = self.method.baseline
        if self.method.name == SCALED_DOWN:
            if budget not in page.shared:
                page.shared[budget] = self._scaled_down(page, budget)
            return page.shared[budget]
        if baseline is None:
            return self._own(page.page, question, budget)
        if "similarity" in baseline.needs:
            return self._peer(baseline, page, question, budget)
        if budget not in page.shared:
            page.shared[budget] = self._peer(baseline, page, question, budget)
        return page.shared[budget]

    def _own(self, page: Page, question: Question, budget: Budget) -> Prefix:
        if page.encoded is None:
            assert page.prefix is not None
            return Prefix(tokens=page.prefix.tokens, detail=None)
        assert self.session.handle is not None
        row = page.encoded.gather([0], None if budget == "auto" else budget)
        chosen = self.session.handle.select_tokens(row, [question])
        return Prefix(tokens=chosen.sequences[0], detail=chosen.tokens)

    def _peer(self, baseline: Baseline, page: EncodedPage, question: Question, budget: Budget) -> Prefix:
        handle, pages = self._encoded(page)
        similarity = None
        if "similarity" in baseline.needs:
            similarity = normalize_similarity(handle.similarity(pages, [question]), pages.dual.candidates)
        tokens = baseline(
            pages.dual,
            total=self._total(pages, budget),
            pixels=page.pixels,
            similarity=similarity,
            generator=torch.Generator().manual_seed(stable_seed("peer", self.seed, page.name)),
            candidate_counts=pages.candidate_counts,
        )
        sequences, _ = handle.project_tokens(pages, tokens)
        return Prefix(tokens=sequences[0], detail=tokens)

    def _scaled_down(self, page: EncodedPage, budget: Budget) -> Prefix:
        """All patches of a smaller view."""
        handle, pages = self._encoded(page)
        assert page.image is not None
        tower = self.session.model.get_vision_tower()
        side = scaled_down_side(self._total(pages, budget), patch_size=tower.patch_size)
        view = single_view(page.image, self.session.image_processor, side, pad=False).to(self.session.model.device)
        tokens = BASELINES["all_patches"](tower.extract_shirg_x_tokens(view, scaffold_factor=1), total=0)
        sequences, _ = handle.project_tokens(pages, tokens)
        return Prefix(tokens=sequences[0], detail=tokens)

    def _encoded(self, page: EncodedPage) -> tuple[ShirgXHandle, EncodedPages]:
        assert self.session.handle is not None
        assert page.page.encoded is not None
        return self.session.handle, page.page.encoded

    def _total(self, pages: EncodedPages, budget: Budget) -> int:
        """As many tokens as SHIRG-X would show, with its scaffold."""
        detail = pages.budgets[0] if budget in ("auto", None) else budget
        assert isinstance(detail, int)
        return detail + self.method.scaffold_tokens


def settings_of(session: Session, budget: Budget) -> ShirgXConfig | None:
    """The resolved settings behind the results of one budget; None for LaViDa's own encoding."""
    if session.handle is None:
        return None
    config = session.handle.config
    return config if budget is None else replace(config, budget=budget)


def directory_names(budgets: Sequence[Budget]) -> list[str]:
    """Where, inside the output directory, the results of each budget go: right there if there is only one."""
    return ["."] if len(budgets) == 1 else [f"budget-{budget}" for budget in budgets]
