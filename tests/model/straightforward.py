"""Denoising in its straightforward form: the slow twin that fast decoding is compared with.

As LaViDa's public code decodes with a prefix cache: keys are cached before the rotary embedding, and every step joins
and rotates all of them again in every layer; logits are computed for every answer position and compared in float64.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from llava.model.language_model.diffusion.schedule import num_transfer_tokens
from llava.model.language_model.llada.modeling_llada import LLaDAModel
from llava.model.language_model.rotary import apply_rotary, rotary_embedding


def _run_layers(
    model: LLaDAModel, embeds: Tensor, cache: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Logits of all positions of ``embeds`` behind a cache of unrotated keys, and that cache grown by them."""
    hidden, grown = embeds, []
    head_dim = model.config.d_model // model.config.n_heads
    for index, block in enumerate(model.blocks):
        normed = block.attn_norm(hidden)
        query, key, value = (
            projection(normed).unflatten(-1, (block.num_heads, -1)).transpose(1, 2)
            for projection in (block.q_proj, block.k_proj, block.v_proj)
        )
        if cache:
            key = torch.cat([cache[index][0], key], dim=2)
            value = torch.cat([cache[index][1], value], dim=2)
        grown.append((key, value))
        positions = torch.arange(key.shape[2], device=key.device)[None]
        cos, sin = rotary_embedding(positions, head_dim, model.config.rope_theta)
        start = key.shape[2] - query.shape[2]
        attended = F.scaled_dot_product_attention(
            apply_rotary(query, (cos[:, :, start:], sin[:, :, start:])), apply_rotary(key, (cos, sin)), value
        )
        hidden = hidden + block.attn_out(attended.transpose(1, 2).flatten(2))
        normed = block.ff_norm(hidden)
        hidden = hidden + block.ff_out(F.silu(block.ff_proj(normed)) * block.up_proj(normed))
    return model.compute_logits(model.transformer["ln_f"](hidden)), grown


@torch.no_grad()
def denoise_straightforward(
    model: LLaDAModel, prefix_embeds: Tensor, *, num_answer: int, steps: int, mask_id: int, keep_cache: bool = True
) -> Tensor:
    """Answer ids (1, num_answer) of one prompt (1, prefix, dim), greedy, low confidence remasked, uniform schedule.

    With ``keep_cache=False`` even the prefix's keys are computed anew in every step.
    """
    tokens = torch.full((1, num_answer), mask_id, device=prefix_embeds.device)
    plan = num_transfer_tokens([num_answer], steps)[0].tolist()
    cache: list[tuple[Tensor, Tensor]] = []
    for count in plan:
        if not cache or not keep_cache:
            _, cache = _run_layers(model, prefix_embeds, [])
        embeds = model.embed_tokens(tokens)
        if model.config.answer_places:
            table = model.transformer["answer_places"].weight
            for place in range(min(num_answer, len(table))):
                embeds[:, place] += table[place]
        logits, _ = _run_layers(model, embeds, cache)
        chosen = logits.argmax(-1)
        probabilities = logits.double().softmax(-1).gather(-1, chosen[..., None])[..., 0]
        confidence = probabilities.masked_fill(tokens != mask_id, -torch.inf)
        best = confidence[0].argsort(descending=True, stable=True)[:count]
        tokens[0, best] = chosen[0, best]
    return tokens
