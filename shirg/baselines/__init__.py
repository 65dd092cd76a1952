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

from shirg.baselines.baseline import Baseline
from shirg.baselines.greedy import divprune, mmr, scope
from shirg.baselines.pooling import mean_pooled, scaled_down_side
from shirg.baselines.ranking import attention, feature_norm, ink, random_patches, uniform_stride
from shirg.baselines.reference import all_patches, no_detail
from shirg.baselines.tome import tome
from shirg.baselines.topv import topv

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "all_patches": Baseline(method=all_patches, budgeted=False),
        "mean_pooled": Baseline(method=mean_pooled),
        "scaffold_only": Baseline(method=no_detail, scaffold=True, budgeted=False),
        "scaffold_random": Baseline(method=random_patches, scaffold=True, needs=frozenset({"generator"})),
        "uniform_stride": Baseline(method=uniform_stride),
        "feature_norm": Baseline(method=feature_norm),
        "ink": Baseline(method=ink, needs=frozenset({"pixels"})),
        "attention": Baseline(method=attention, needs=frozenset({"attention"})),
        "tome": Baseline(method=tome),
        "divprune": Baseline(method=divprune),
        "scope": Baseline(method=scope, needs=frozenset({"attention"})),
        "mmr": Baseline(method=mmr, needs=frozenset({"similarity"})),
        "topv": Baseline(method=topv),
    }
)

__all__ = ["BASELINES", "Baseline", "scaled_down_side"]
