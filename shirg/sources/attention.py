"""Attention received in a vision layer: the source that reads no question."""

from jaxtyping import Float, Float32
from torch import Tensor

from shirg.sources.inputs import SourceInputs


def attention_similarity(attention_received: Float[Tensor, "batch patches"]) -> Float32[Tensor, "batch patches"]:
    """The mean attention a patch receives in a vision layer: what stands out, whatever is asked."""
    return attention_received.float()


def score(inputs: SourceInputs) -> Tensor:
    """The entry's ``score``."""
    assert inputs.attention is not None
    return attention_similarity(inputs.attention)
