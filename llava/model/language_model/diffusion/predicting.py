"""From answer ids to logits, behind a prompt that is computed once or again in every step.

Axis names: batch (samples), states (versions of an answer, each seeing only itself and the prompt), answer (positions
to fill), window (those of the active block), prefix (prompt positions), dim, vocab.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.kept_steps import StepBuffers
from llava.model.language_model.diffusion.kv_cache import KVCache
from llava.model.language_model.rotary import Rotary

Predict = Callable[[Tensor, int, int], Tensor]
"""From (answer ids (batch, answer), start, end) to float32 logits (batch, end - start, vocab); both with an axis of
states behind the batch where the settings look ahead."""


def make_predictor(
    model: Backbone,
    prefix_embeds: Tensor,
    prefix_lengths: Sequence[int],
    config: DecodingConfig,
    kept: StepBuffers | None = None,
) -> tuple[Predict, Tensor | None]:
    """What scores an answer's positions behind a prompt (batch, prefix, dim), which is read now if it is frozen.

    A frozen prompt may hold the first answer token already, being what that is read from; then its float32 logits
    (batch, vocab) come too.

    Args:
        kept: where the frozen prompt goes, if it must lie where the one before lay.
    """
    if not config.prefix_lm:
        return _predict_anew(model, prefix_embeds, prefix_lengths, config.max_new_tokens), None
    cache = model.prefill(
        prefix_embeds,
        prefix_lengths,
        num_answer=(1 + config.lookahead) * config.max_new_tokens,
        cache=None if kept is None else kept.cache,
    )
    first = None if cache.before is None else model.compute_logits(cache.before).float()
    rotary = model.answer_rotary(cache, config.max_new_tokens)
    return _predict_from_cache(model, cache, rotary if kept is None else kept.take_rotary(rotary), config), first


def _predict_from_cache(model: Backbone, cache: KVCache, rotary: Rotary, config: DecodingConfig) -> Predict:
    length, most = config.max_new_tokens, 1 + config.lookahead
    # States stand one behind the other and share the prompt's keys; the bias keeps them from seeing each other.
    bias = cache.separating_bias(most, length) if most > 1 else None
    cosines, sines = (angles.repeat(1, 1, most, 1) for angles in rotary)

    def predict(tokens: Tensor, start: int, end: int) -> Tensor:
        if tokens.ndim == 2:
            hidden = model.denoise(model.embed_answer(tokens), cache, rotary)
            return model.compute_logits(model.reading(hidden, start, end)).float()
        assert bias is not None
        states = tokens.shape[1]
        positions = states * length
        hidden = model.denoise(
            model.embed_answer(tokens).flatten(1, 2),
            cache,
            (cosines[:, :, :positions], sines[:, :, :positions]),
            bias[:, :, :positions, : cache.prefix_length + positions],
        )
        return model.compute_logits(model.reading(hidden.unflatten(1, (states, length)), start, end)).float()

    return predict


def _predict_anew(model: Backbone, prefix_embeds: Tensor, prefix_lengths: Sequence[int], length: int) -> Predict:
    batch, prefix, _ = prefix_embeds.shape
    lengths = torch.tensor(list(prefix_lengths), device=prefix_embeds.device)[:, None]
    slots = torch.arange(prefix + length, device=prefix_embeds.device).expand(batch, -1)
    positions = torch.where(slots < prefix, slots, slots - prefix + lengths)
    mask = (slots < lengths) | (slots >= prefix) if min(prefix_lengths) < prefix else None

    def predict(tokens: Tensor, start: int, end: int) -> Tensor:
        embeds = torch.cat([prefix_embeds, model.embed_answer(tokens)], dim=1)
        hidden = model(embeds, attention_mask=mask, position_ids=positions)
        last = None
        if model.predicts_next:
            last = hidden.gather(1, (lengths - 1)[..., None].expand(-1, -1, hidden.shape[2]))[:, 0]
        return model.compute_logits(model.reading(hidden[:, prefix:], start, end, last)).float()

    return predict
