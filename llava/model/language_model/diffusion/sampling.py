"""Which token a masked position would take, and how sure of it the model is.

Axis names: batch (samples), length (answer positions), vocab.

Confidences are computed so that they stay apart where probabilities in float32 would all round to 1: a trained model's
sure answers differ by 1e-9, and their order decides what is unmasked first. LaViDa uses float64 for that.
"""

import torch
from torch import Tensor


def sample_tokens(logits: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """Token ids (batch, length) drawn from logits (batch, length, vocab): the highest at temperature 0.

    Gumbel-max sampling: the arg-max of logits plus ``temperature`` times Gumbel noise.
    """
    if temperature == 0:
        return logits.argmax(-1)
    uniform = torch.rand(logits.shape, device=logits.device, generator=generator).clamp_(min=1e-20)
    return (logits - temperature * (-uniform.log()).log()).argmax(-1)


def keep_likely(logits: Tensor, *, top_p: float | None, top_k: int | None, temperature: float = 0.0) -> Tensor:
    """Logits (..., vocab) with all but the likeliest tokens at the lowest finite number.

    The token that crosses ``top_p`` stays. Confidences of what is left are those of a prediction without the others.

    Args:
        temperature: at which tokens will be drawn, and their share is therefore counted.
    """
    lowest = torch.finfo(logits.dtype).min
    if top_p is not None and top_p < 1:
        ordered, index = (logits / (temperature or 1)).sort(dim=-1, descending=True)
        full = torch.nn.functional.pad(ordered.softmax(-1).cumsum(-1)[..., :-1] > top_p, (1, 0))
        logits = logits.masked_fill(torch.empty_like(full).scatter_(-1, index, full), lowest)
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, dim=-1).values[..., -1:], lowest)
    return logits


def draw_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform noise from [0, 1) in a tensor's shape, float32."""
    return torch.rand(like.shape, device=like.device, generator=generator)


def draw_order(scores: Tensor, rule: str, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """Scores (batch, length) whose order is drawn: without replacement, as softmax(confidence / temperature) says."""
    scores = scores.sigmoid() if rule == "low_confidence" else scores
    uniform = draw_noise(scores, generator).clamp_(min=1e-20)
    return scores / temperature - (-uniform.log()).log()


def confidence(logits: Tensor, tokens: Tensor, rule: str, generator: torch.Generator | None = None) -> Tensor:
    """How sure the model is of each position, (batch, length) float32; only the order carries meaning.

    ``low_confidence``: the log-odds of the chosen token. ``entropy``: minus the entropy of the prediction.
    ``margin``: the lead of the best token over the second. ``random``: noise.

    Args:
        logits: (batch, length, vocab) float32.
        tokens: chosen ids, (batch, length).
    """
    if rule == "random":
        return draw_noise(tokens, generator)
    if rule == "low_confidence":
        return log_odds(logits, tokens)
    best, index = logits.max(-1, keepdim=True)
    gaps = logits - best
    others = gaps.exp().scatter_(-1, index, 0.0)
    rest = others.sum(-1)
    if rule == "entropy":
        return (others * gaps).sum(-1) / (1 + rest) - rest.log1p()
    return -(rest + others.amax(-1)) / (1 + rest)


def log_odds(logits: Tensor, tokens: Tensor) -> Tensor:
    """log(p / (1 - p)) of the chosen tokens, (batch, length): monotone in p and exact at both of its ends."""
    chosen = logits.gather(-1, tokens[..., None])
    others = logits.scatter(-1, tokens[..., None], -torch.inf)
    return chosen[..., 0] - others.logsumexp(-1)
