"""From answer ids to logits, behind a prompt that is computed once or again in every step.

Axis names: batch (samples), states (versions of an answer, each seeing only itself and the prompt), answer (positions
to fill), window (those of the active block), prefix (prompt positions), dim, vocab.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.cuda_graph import CapturedStep
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.kv_cache import KVCache

Predict = Callable[[Tensor, int, int], Tensor]
"""From (answer ids (batch, answer), start, end) to float32 logits (batch, end - start, vocab); both with an axis of
states behind the batch where the settings look ahead."""


def make_predictor(
    model: Backbone, prefix_embeds: Tensor, prefix_lengths: Sequence[int], config: DecodingConfig
) -> tuple[Predict, Tensor | None]:
    """What scores an answer's positions behind a prompt (batch, prefix, dim), which is read now if it is frozen.

    A frozen prompt may hold the first answer token already, being what that is read from; then its float32 logits
    (batch, vocab) come too.
    """
    if not config.prefix_lm:
        return _predict_anew(model, prefix_embeds, prefix_lengths, config.max_new_tokens), None
    cache = model.prefill(prefix_embeds, prefix_lengths, num_answer=(1 + config.lookahead) * config.max_new_tokens)
    first = None if cache.before is None else model.compute_logits(cache.before).float()
    return _predict_from_cache(model, cache, config), first


def _predict_from_cache(model: Backbone, cache: KVCache, config: DecodingConfig) -> Predict:
    length, most = config.max_new_tokens, 1 + config.lookahead
    rotary = model.answer_rotary(cache, length)
    # States stand one behind the other and share the prompt's keys; the bias keeps them from seeing each other.
    bias = cache.separating_bias(most, length) if most > 1 else None
    cosines, sines = (angles.repeat(1, 1, most, 1) for angles in rotary)

    def hidden_states(tokens: Tensor) -> Tensor:
        return model.denoise(model.embed_tokens(tokens), cache, rotary)

    step = CapturedStep(hidden_states) if config.cuda_graph else hidden_states

    def predict(tokens: Tensor, start: int, end: int) -> Tensor:
        if tokens.ndim == 2:
            return model.compute_logits(model.reading(step(tokens), start, end)).float()
        assert bias is not None
        states = tokens.shape[1]
        positions = states * length
        hidden = model.denoise(
            model.embed_tokens(tokens.flatten(1)),
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
        embeds = torch.cat([prefix_embeds, model.embed_tokens(tokens)], dim=1)
        hidden = model(embeds, attention_mask=mask, position_ids=positions)
        last = None
        if model.predicts_next:
            last = hidden.gather(1, (lengths - 1)[..., None].expand(-1, -1, hidden.shape[2]))[:, 0]
        return model.compute_logits(model.reading(hidden[:, prefix:], start, end, last)).float()

    return predict
