"""The peers SHIRG-X is measured against: other ways to make few tokens out of the same features of the same view.

All read a ``DualScaleTokens`` and return a ``TokenSet`` in raster order with boxes on the page, so that everything
after the choice (coordinates, projector, language model, training) is the same for all, at the same total of tokens:

    tokens = BASELINES["divprune"](dual, total=912)

Methods with a scaffold get ``total`` less its tokens as detail, and the caller puts the scaffold in front; the others
spend all on detail. Stock LaViDa is the model's own encoding and not in here; an image scaled down is the encoder's
work too, and ``scaled_down_side`` says to which side.

Axis names as in ``shirg``; further ones are ``keep``, detail tokens to choose, and ``sources`` and ``targets``, the two
sides of a matching.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from shirg.baselines.baseline import Baseline
from shirg.lazy import Lazy, lazy_names

if TYPE_CHECKING:
    from shirg.baselines.pooling import scaled_down_side

_GREEDY, _RANKING, _REFERENCE = "shirg.baselines.greedy", "shirg.baselines.ranking", "shirg.baselines.reference"

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "all_patches": Baseline(method=Lazy(_REFERENCE, "all_patches"), budgeted=False),
        "mean_pooled": Baseline(method=Lazy("shirg.baselines.pooling", "mean_pooled")),
        "scaffold_only": Baseline(method=Lazy(_REFERENCE, "no_detail"), scaffold=True, budgeted=False),
        "scaffold_random": Baseline(
            method=Lazy(_RANKING, "random_patches"), scaffold=True, needs=frozenset({"generator"})
        ),
        "uniform_stride": Baseline(method=Lazy(_RANKING, "uniform_stride")),
        "feature_norm": Baseline(method=Lazy(_RANKING, "feature_norm")),
        "ink": Baseline(method=Lazy(_RANKING, "ink"), needs=frozenset({"pixels"})),
        "attention": Baseline(method=Lazy(_RANKING, "attention"), needs=frozenset({"attention"})),
        "tome": Baseline(method=Lazy("shirg.baselines.tome", "tome")),
        "divprune": Baseline(method=Lazy(_GREEDY, "divprune")),
        "scope": Baseline(method=Lazy(_GREEDY, "scope"), needs=frozenset({"attention"})),
        "mmr": Baseline(method=Lazy(_GREEDY, "mmr"), needs=frozenset({"similarity"})),
        "topv": Baseline(method=Lazy("shirg.baselines.topv", "topv")),
    }
)

__all__ = ["BASELINES", "Baseline", "scaled_down_side"]

__getattr__ = lazy_names(__name__, {"scaled_down_side": "shirg.baselines.pooling"})
