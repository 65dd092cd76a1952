"""Attention received in a vision layer: the source that reads no question."""

from jaxtyping import Float, Float32
from torch import Tensor

from shirg.sources.source import Source, SourceInputs


def attention_similarity(attention_received: Float[Tensor, "batch patches"]) -> Float32[Tensor, "batch patches"]:
    """The mean attention a patch receives in a vision layer: what stands out, whatever is asked."""
    return attention_received.float()


def _score(inputs: SourceInputs) -> Tensor:
    assert inputs.attention is not None
    return attention_similarity(inputs.attention)


ATTENTION = Source(score=_score, needs=frozenset({"attention"}))
