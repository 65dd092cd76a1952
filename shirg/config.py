"""The settings of SHIRG-X: one frozen value, checked when it is made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, no_type_check

from shirg.settings import Settings, check_whole
from shirg.sources import SOURCES, Source
from shirg.tiling import ONE_TILE, Grid, PageViews, name_tiles, parse_tiles

Mode = Literal["shirg_x", "stock"]
Resize = Literal["stretch", "pad"]
Neighbor = Literal["anchor", "mean"]
AttentionLayer = Literal["last", "selected"]
"""Of a vision tower: the ``last`` of all its layers, or the ``selected`` one, whose output the features are."""


@no_type_check  # wrong types must reach __post_init__, whose messages say what to mend, in tests too
@dataclass(frozen=True, kw_only=True)
class ShirgXConfig(Settings):
    """Every choice SHIRG-X leaves open; the defaults are the full-size method.

    Lists become tuples and whole numbers become weights, so that values read from YAML compare equal to those written
    in Python.

    Raises:
        ValueError: if a value has the wrong type, lies out of range, or contradicts another.
    """

    mode: Mode = "shirg_x"
    """``stock`` leaves LaViDa's own encoding of images untouched."""
    grid: int = 48
    """Patches along one side of a square view."""
    tiles: int | str = 1
    """Views that a page is cut into: ``1``; rows x columns, such as ``3x2``; or ``auto``, as many as the picture's own
    pixels fill. There are as many more candidates, and the same number of tokens after selection."""
    max_tiles: int = 6
    """Views at the most where ``tiles`` is ``auto``."""
    scaffold_factor: int = 4
    """Of a page in one view, patches along one side of a scaffold cell; divides ``grid``. Tiles have as many cells."""
    resize: Resize = "stretch"
    """How a page fills its views: ``stretch`` as SigLIP's preprocessing does, or ``pad`` keeping its shape."""
    budgets: tuple[int, ...] = (512, 768, 1024)
    """Numbers of detail tokens on offer, ascending."""
    budget: int | Literal["auto", "question"] = "auto"
    """Detail tokens kept per image: a number on offer, here or for questions; ``auto`` asks the budget head, which
    reads the image; ``question`` takes as few as keep ``question_mass`` of the relevance, which also reads the
    question."""
    question_budgets: tuple[int, ...] = (32, 64, 128, 256, 512, 768, 1024)
    """Numbers on offer to ``budget: question``, ascending; those that exceed an image's patches are passed over."""
    question_mass: float = 0.9
    """Share of an image's relevance, from 0 to 1, that ``budget: question`` keeps."""
    similarity: str = "auto"
    """Where relevance comes from, one of ``shirg.sources.SOURCES``; ``auto`` means ``learned`` when its weights are
    there, else ``projected``."""
    ink_first: bool = True
    """Patches that show nothing but paper are chosen only once all others are, whatever their similarity."""
    attention_layer: AttentionLayer = "last"
    """Where ``similarity: attention`` is read: in the ``last`` vision layer, which LaViDa leaves out, or in the
    ``selected`` one, whose output the projector gets; that one needs no more weights."""
    similarity_weight: float = 0.7
    """Weight of the similarity, which is scaled to [0, 1] per image."""
    neighbor_weight: float = 0.2
    """Weight of the distance to the neighbor, in units of the page."""
    center_weight: float = 0.1
    """Weight of the distance to the center of the image, in units of the page."""
    neighbor: Neighbor = "anchor"
    """The p_j of the score: the nearest ``anchor``, or the ``mean`` distance to all patches."""
    merge: bool = True
    """Fold similar neighbors together before selecting."""
    merge_epsilon: float = 0.05
    """Only patches whose scores differ by less than this merge."""
    merge_cosine: float = 0.9
    """Only patches whose features are at least this similar merge."""
    min_per_cell: int = 0
    """Tokens that every scaffold cell keeps, if it has as many."""
    scaffold: bool = True
    """Put the scaffold before the detail tokens; off is an ablation."""
    coordinates: bool = True
    """Tell the model where its tokens lie."""
    coordinates_on_scaffold: bool = True
    """Tell it for scaffold tokens too."""
    coordinate_dim: int = 128
    """Hidden width of the coordinate embedding."""
    relevance_dim: int = 128
    """Width in which the ``learned`` similarity compares patches with words, and of the ``matched`` one's network."""
    relevance_heads: int = 1
    """Parts of that width that look for a word each: with several, a patch counts for matching the question twice, as
    the cell of a table does that lies in the row asked for and in the column."""
    debug: bool = False
    """Log every stage with its time and memory."""

    def __post_init__(self) -> None:
        for name, options in _CHOICES.items():
            self.check_choice(name, options)
        for name in _SWITCHES:
            self.check_switch(name)
        for name, least in _COUNTS.items():
            self.check_count(name, least)
        for name, (low, high) in _NUMBERS.items():
            self.check_number(name, low, high)
            object.__setattr__(self, name, float(getattr(self, name)))
        tiling = parse_tiles(self.tiles)
        object.__setattr__(self, "tiles", name_tiles(tiling))
        if self.grid % self.scaffold_factor:
            raise ValueError(f"scaffold_factor must divide grid, got {self.scaffold_factor} and {self.grid}")
        if self.relevance_dim % self.relevance_heads:
            raise ValueError(
                f"relevance_heads must divide relevance_dim, got {self.relevance_heads} and {self.relevance_dim}"
            )
        self._check_budgets()

    def _check_budgets(self) -> None:
        for name in ("budgets", "question_budgets"):
            offered = getattr(self, name)
            if not isinstance(offered, Sequence) or isinstance(offered, str) or not offered:
                raise ValueError(f"{name} must be a list of at least one whole number, got {offered!r}")
            object.__setattr__(self, name, tuple(offered))
            for budget in offered:
                check_whole(f"each of {name}", budget, 1)
            if list(offered) != sorted(set(offered)):
                raise ValueError(f"{name} must ascend without repeats, got {tuple(offered)}")
        if self.budgets[-1] > self.num_patches:
            raise ValueError(f"budgets must not exceed the {self.num_patches} patches of a page, got {self.budgets}")
        fixed = sorted({*self.budgets, *(budget for budget in self.question_budgets if budget <= self.num_patches)})
        if self.budget not in ("auto", "question") and not (type(self.budget) is int and self.budget in fixed):
            words = ", ".join(map(str, fixed))
            raise ValueError(f"budget must be auto, question or one of {words}, got {self.budget!r}")
        if self.min_per_cell * self.scaffold_tokens > self.offered[0]:
            raise ValueError(
                f"min_per_cell of {self.min_per_cell} for {self.scaffold_tokens} cells asks for more tokens than the "
                f"smallest budget, {self.offered[0]}"
            )

    @property
    def offered(self) -> tuple[int, ...]:
        """The numbers of detail tokens that ``budget`` may come to, ascending."""
        if isinstance(self.budget, int):
            return (self.budget,)
        return self.question_budgets if self.budget == "question" else self.budgets

    @property
    def num_patches(self) -> int:
        """Patches that every page has, at the least."""
        rows, columns = parse_tiles(self.tiles) or ONE_TILE
        return self.grid**2 * rows * columns

    def views(self, patch_size: int) -> PageViews:
        """The views that a tower with patches of so many pixels is shown of an image."""
        return PageViews(
            side=self.grid * patch_size,
            pad=self.resize == "pad",
            tiles=parse_tiles(self.tiles),
            max_tiles=self.max_tiles,
        )

    @property
    def cells(self) -> Grid:
        """Rows and columns of the scaffold."""
        return (self.grid // self.scaffold_factor,) * 2

    @property
    def source(self) -> Source:
        """Where relevance comes from. ``auto`` is either of two that read alike, until a model says which."""
        return SOURCES["projected" if self.similarity == "auto" else self.similarity]

    @property
    def reads_left_out_layers(self) -> bool:
        """Whether the similarity reads vision layers that LaViDa leaves out."""
        needs = set(self.source.needs) - ({"attention"} if self.attention_layer == "selected" else set())
        return self.mode != "stock" and not needs.isdisjoint(("attention", "values"))

    @property
    def scaffold_tokens(self) -> int:
        """Cells of the scaffold."""
        return (self.grid // self.scaffold_factor) ** 2

    def for_grid(self, grid: int) -> "ShirgXConfig":
        """The same configuration on another grid, with budgets that are the same shares of its patches.

        Raises:
            ValueError: if the grid does not fit the scaffold or is too small to tell the budgets apart.
        """
        check_whole("grid", grid, 1)
        (budget,) = self._shares((self.budget,), grid) if isinstance(self.budget, int) else (self.budget,)
        # Shares of a small grid may round to the same number; a question is offered each once.
        asked = tuple(dict.fromkeys(self._shares(self.question_budgets, grid)))
        return self.replace(grid=grid, budgets=self.budgets_for_grid(grid), question_budgets=asked, budget=budget)

    def budgets_for_grid(self, grid: int) -> tuple[int, ...]:
        """The same shares of the patches of a view of another grid as ``budgets`` are of this one's."""
        return self._shares(self.budgets, grid)

    def _shares(self, budgets: Sequence[int], grid: int) -> tuple[int, ...]:
        return tuple(max(1, round(budget * grid**2 / self.grid**2)) for budget in budgets)


def check_tower(config: ShirgXConfig, *, keep_all_layers: bool, gathered: int, width: int) -> None:
    """Refuse a similarity that reads what a vision tower does not give.

    Args:
        gathered: channels of each word that the tower gathers, 0 for none.
        width: of the language model's words.

    Raises:
        ValueError: if it reads vision layers that the model was loaded without, or words that are not gathered.
    """
    if config.reads_left_out_layers and not keep_all_layers:
        raise ValueError(
            f"similarity {config.similarity!r} needs the vision layers that LaViDa removes; load the model with "
            "vision_kwargs={'keep_all_layers': True}, or choose similarity: projected"
        )
    if config.mode != "stock" and config.source.tells_outcomes and gathered != width:
        raise ValueError(
            f"similarity: {config.similarity} needs a vision tower that gathers words (gathered_dim: {width}), this "
            f"one has gathered_dim: {gathered}; choose similarity: learned"
        )


def same_budgets(settings: Mapping[str, Any] | None, config: ShirgXConfig) -> bool:
    """Whether a budget head that was saved with these settings chose among the same shares of a page's patches."""
    return settings is None or ShirgXConfig.from_dict(settings).budgets_for_grid(config.grid) == config.budgets


_CHOICES: dict[str, tuple[str, ...]] = {
    "mode": get_args(Mode),
    "resize": get_args(Resize),
    "similarity": ("auto", *SOURCES),
    "attention_layer": get_args(AttentionLayer),
    "neighbor": get_args(Neighbor),
}
_SWITCHES = ("ink_first", "merge", "scaffold", "coordinates", "coordinates_on_scaffold", "debug")
_COUNTS = {
    "grid": 1,
    "max_tiles": 1,
    "scaffold_factor": 1,
    "min_per_cell": 0,
    "coordinate_dim": 1,
    "relevance_dim": 1,
    "relevance_heads": 1,
}
_NUMBERS = {
    "similarity_weight": (0.0, math.inf),
    "neighbor_weight": (0.0, math.inf),
    "center_weight": (0.0, math.inf),
    "merge_epsilon": (0.0, math.inf),
    "merge_cosine": (-1.0, 1.0),
    "question_mass": (0.0, 1.0),
}
