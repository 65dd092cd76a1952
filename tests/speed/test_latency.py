"""The benchmark: what it compares is equal, and its floors are the published arithmetic."""

import json

import pytest
import torch
from transformers import SiglipVisionConfig

from llava.model import LlavaLladaConfig
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.generate import denoise
from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.provenance import provenance
from llava.speed.floors import language_weights, peaks_of, prefill_flops, vision_flops
from llava.speed.latency import FULL_SIZE_VISION, Workload, compare_decoding, full_size_model, measure_stages
from llava.speed.reference import denoise_straightforward
from shirg import ShirgXConfig
from tests.model.test_parity import block_image


@pytest.fixture(scope="module")
def work(loaded):
    return Workload.of_question(block_image(90, 70, 1), "Total?", loaded[0], num_answer=8, steps=4, repeats=1)


@pytest.mark.parametrize("keep_cache", [True, False])
@pytest.mark.parametrize("steps", [3, 11])
def test_decoding_gives_the_tokens_of_its_straightforward_form(loaded, keep_cache, steps):
    model = loaded[1].model
    embeds = model.embed_tokens(torch.randint(0, 490, (1, 37))).detach()
    expected = denoise_straightforward(model, embeds, num_answer=11, steps=steps, mask_id=500, keep_cache=keep_cache)
    settings = DecodingConfig(max_new_tokens=11, steps=steps, prefix_lm=True)
    done = denoise(model, embeds, [37], settings, mask_id=500, stop_ids=(), fill_id=0)
    assert torch.equal(done.tokens, expected)


def test_all_stages_are_timed_and_the_result_is_json(loaded, work):
    result = measure_stages(loaded[1], ShirgXConfig(similarity="projected", budget=768).for_grid(12), work)
    chosen = {"ink", "similarity", "score", "merge", "select", "project"}
    stages = {"preprocess", "encode", *chosen, "prefill", "step", "answer"}
    assert set(result["milliseconds"]) == stages
    assert min(result["milliseconds"].values()) > 0
    assert result["visual_tokens"] == 9 + 48
    assert json.loads(json.dumps(result)) == result
    assert "encode_images" not in vars(loaded[1])


def test_forms_of_decoding_are_compared_at_equal_tokens(loaded, work, monkeypatch):
    result = compare_decoding(loaded[1], work, prefix_tokens=29)
    assert set(result["speedup"]) == {"rotated_again", "recomputed"}
    assert result["equal_tokens"] == {"rotated_again": 1.0, "recomputed": 1.0}
    monkeypatch.setattr(
        "llava.speed.latency.denoise_straightforward", lambda *_, **__: torch.zeros(1, 8, dtype=torch.long)
    )
    assert compare_decoding(loaded[1], work, prefix_tokens=29)["equal_tokens"]["recomputed"] < 1


def test_floors_of_the_full_size_model():
    language, vision = LLaDAConfig(), SiglipVisionConfig(**FULL_SIZE_VISION)
    assert language_weights(language) * 2 == pytest.approx(14.99e9, rel=1e-3)
    assert prefill_flops(language, 1000) == pytest.approx(14.5e12, rel=0.01)
    assert vision_flops(vision, 26, 48**2) == pytest.approx(2.46e12, rel=0.01)
    assert vision_flops(vision, 26, 27**2, views=5) == pytest.approx(3.20e12, rel=0.01)
    assert peaks_of("NVIDIA H100 80GB HBM3").bytes_per_second == 3.35e12
    assert peaks_of("some CPU") is None


def test_results_say_where_they_come_from():
    found = provenance(torch.device("cpu"))
    assert {"commit", "device", "torch", "transformers", "threads", "python"} == set(found)
    assert all(found.values())


def test_a_model_with_random_weights_answers(monkeypatch, loaded, work):
    """The full-size builder, on a small config: every tensor is filled, and all stages run on it."""
    small = dict.fromkeys(("hidden_size", "intermediate_size"), 32) | {"num_hidden_layers": 2, "num_attention_heads": 2}
    monkeypatch.setattr(
        "llava.speed.latency.LlavaLladaConfig",
        lambda mm_vision_config: LlavaLladaConfig(
            d_model=32,
            n_heads=2,
            n_layers=2,
            mlp_hidden_size=48,
            mm_hidden_size=32,
            mm_vision_config={**mm_vision_config, **small},
        ),
    )
    model = full_size_model(torch.device("cpu"), torch.float32)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert model.model.transformer["ln_f"].weight.eq(1).all()
    config = ShirgXConfig(similarity="projected", budget=768).for_grid(12)
    assert measure_stages(model, config, work)["visual_tokens"] == 9 + 48
