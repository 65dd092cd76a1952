"""Sources of similarity by their names in the settings."""

from collections.abc import Mapping
from types import MappingProxyType

from shirg.lazy import Lazy
from shirg.sources.source import Need, Source

__all__ = ["SOURCES", "Need", "Source"]

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "projected": Source(score=Lazy("shirg.sources.projected", "score"), needs=frozenset({"projected", "words"})),
        "siglip": Source(score=Lazy("shirg.sources.siglip", "score"), needs=frozenset({"values", "text"})),
        "attention": Source(
            score=Lazy("shirg.sources.attention", "score"), needs=frozenset({"attention"}), inverse_temperature=None
        ),
        "learned": Source(
            score=Lazy("shirg.sources.learned", "score"),
            needs=frozenset({"words"}),
            weights=Lazy("shirg.sources.learned", "LearnedRelevance"),
        ),
        "matched": Source(
            score=Lazy("shirg.sources.learned", "score"),
            needs=frozenset({"words"}),
            weights=Lazy("shirg.sources.matched", "MatchedRelevance"),
            inverse_temperature=1.0,
            tells_outcomes=True,
        ),
    }
)
