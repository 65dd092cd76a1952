"""Sources of similarity by their names in the settings."""

from collections.abc import Mapping
from types import MappingProxyType

from shirg.sources.attention import ATTENTION
from shirg.sources.learned import LEARNED
from shirg.sources.projected import PROJECTED
from shirg.sources.siglip import SIGLIP
from shirg.sources.source import Need, Source, SourceInputs

__all__ = ["SOURCES", "Need", "Source", "SourceInputs"]

SOURCES: Mapping[str, Source] = MappingProxyType(
    {"projected": PROJECTED, "siglip": SIGLIP, "attention": ATTENTION, "learned": LEARNED}
)
