"""What a source of similarity is: how much each patch has to do with the question, and what it reads to tell.

A source gives raw float32 similarities on a scale of its own; ``scoring`` brings them to [0, 1] per image. None reads
the answer, in training either: a prefix chosen by the answer could not be chosen when there is none yet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Need = Literal["projected", "words", "text", "attention", "values"]

INVERSE_TEMPERATURE = 12.0
"""At which the softmax of cosines is taught to be the relevance."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to tell what matters; another one is a file and an entry of ``SOURCES``."""

    score: Callable[..., Any]
    """From ``SourceInputs`` to (batch, patches) float32."""
    needs: frozenset[Need]
    weights: Callable[..., Any] | None = None
    """Makes its fresh weights from (vision width, language width, relevance_dim, relevance_heads); None for a source
    without any."""

    inverse_temperature: float | None = INVERSE_TEMPERATURE
    """Times the similarity, the logarithm of what a patch has of the relevance; None for a similarity that is such a
    share itself."""

    tells_outcomes: bool = False
    """Whether the weights also say what each patch is relevant for (``by_outcome``), and tell the language model."""

    @property
    def reads_question(self) -> bool:
        """Whether another question may give other similarities."""
        return not self.needs.isdisjoint(("words", "text"))
