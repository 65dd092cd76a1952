"""How pages become image tokens in an evaluation: SHIRG-X, LaViDa's own way, or a peer at the same total."""

from dataclasses import dataclass, field, replace

import torch
from PIL import Image
from torch import Tensor

from lavida_shirg_integration import EncodedPages, ShirgXHandle
from llava.eval.methods import SCALED_DOWN, Budget, Method
from llava.inference.answer import EncodedImage
from llava.inference.session import Session
from llava.mm_utils import process_images, single_view
from llava.question import Question
from llava.seeds import stable_seed
from shirg.baselines import BASELINES, Baseline
from shirg.baselines.pooling import scaled_down_side
from shirg.config import ShirgXConfig
from shirg.scoring import normalize_similarity
from shirg.tiling import PageViews
from shirg.tokens import TokenSet


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
    page: EncodedImage
    pixels: Tensor | None
    """(1, 3, height, width) of the whole page, for peers that read them."""
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

    @property
    def views(self) -> PageViews | None:
        """What SHIRG-X looks at of a page; None for LaViDa's own encoding."""
        views: PageViews | None = getattr(self.session.model.config, "image_view", None)
        return views

    def encode(self, name: str, image: Image.Image) -> EncodedPage:
        """Everything that neither a question nor a budget changes."""
        pixels, baseline = None, self.method.baseline
        if baseline is not None and "pixels" in baseline.needs:
            views = process_images([image], self.session.image_processor, self.session.model.config)[0]
            assert self.views is not None
            rows, columns = self.views.tiling(image.size)
            # (rows, columns, 3, side, side) to (3, rows, side, columns, side)
            page = views.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
            pixels = page[None].to(self.session.model.device)
        shrinks = self.method.name == SCALED_DOWN
        return EncodedPage(name=name, page=self.session.encode(image), pixels=pixels, image=image if shrinks else None)

    @torch.no_grad()
    def choose(self, page: EncodedPage, question: Question, budget: Budget) -> Prefix:
        """The page's tokens for a question.

        Raises:
            ValueError: if the page has fewer patches than the budget asks for.
        """
        baseline = self.method.baseline
        if budget == "question" and (baseline is not None or self.method.name == SCALED_DOWN):
            handle, pages = self._encoded(page)
            (budget,) = handle.question_budgets(pages, handle.similarity(pages, [question]))
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

    def _own(self, page: EncodedImage, question: Question, budget: Budget) -> Prefix:
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
        detail = budget
        if budget in ("auto", None):
            assert pages.budgets is not None
            detail = pages.budgets[0]
        assert isinstance(detail, int)
        return detail + self.method.scaffold_tokens


def settings_of(session: Session, budget: Budget) -> ShirgXConfig | None:
    """The resolved settings behind the results of one budget; None for LaViDa's own encoding."""
    if session.handle is None:
        return None
    config = session.handle.config
    return config if budget is None else replace(config, budget=budget)
