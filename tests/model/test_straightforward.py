"""Decoding against its slow twin."""

import pytest
import torch

from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.generate import denoise
from tests.model.straightforward import denoise_straightforward


@pytest.mark.parametrize("keep_cache", [True, False])
@pytest.mark.parametrize("steps", [3, 11])
def test_decoding_gives_the_tokens_of_its_straightforward_form(loaded, keep_cache, steps):
    model = loaded[1].model
    embeds = model.embed_tokens(torch.randint(0, 490, (1, 37))).detach()
    expected = denoise_straightforward(model, embeds, num_answer=11, steps=steps, mask_id=500, keep_cache=keep_cache)
    settings = DecodingConfig(max_new_tokens=11, steps=steps, prefix_lm=True)
    done = denoise(model, embeds, [37], settings, mask_id=500, stop_ids=(), fill_id=0)
    assert torch.equal(done.tokens, expected)
