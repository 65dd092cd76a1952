"""The benchmark: what it compares is equal, and its floors are the published arithmetic."""

import json

import pytest
import torch
from transformers import SiglipVisionConfig

from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.dream.llava_dream import LlavaDreamConfig
from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.language_model.registry import BACKBONES
from llava.provenance import provenance
from llava.speed.bench import Way, count_launches, measure
from llava.speed.floors import (
    Peaks,
    cache_elements,
    language_weights,
    measure_peaks,
    peaks_of,
    prefill_flops,
    stage_floors,
    vision_flops,
)
from llava.speed.workload import FULL_SIZE_VISION, Workload, full_size_model
from shirg import ShirgXConfig
from tests.model.test_parity import block_image


@pytest.fixture(scope="module")
def work(loaded):
    return Workload.of_question(block_image(90, 70, 1), "Total?", loaded[0], loaded[1].config.conversation)


PEAKS = Peaks(bytes_per_second=1e10, flops_per_second=5e10, published=False)


def ways() -> list[Way]:
    shirg = ShirgXConfig(similarity="projected", budget=768).for_grid(12)
    every = DecodingConfig(max_new_tokens=8, prefix_lm=True)
    return [
        Way(name="stock", shirg=None, decoding=every),
        Way(name="half", shirg=shirg, decoding=DecodingConfig(max_new_tokens=8, steps=4, prefix_lm=True)),
        Way(name="other", shirg=shirg.replace(budget=32), decoding=every),
    ]


def test_every_stage_of_every_way_is_timed_counted_and_has_a_floor(loaded, work):
    rounds = []
    result = measure(loaded[1], ways(), work, PEAKS, rounds=2, on_round=rounds.append)
    assert rounds == [0, 1, 2]
    assert [(way["name"], way["forwards"], way["visual_tokens"]) for way in result] == [
        ("stock", 8, 346),
        ("half", 4, 9 + 48),
        ("other", 8, 9 + 32),
    ]
    common = {"preprocess", "encode", "prefill", "step", "denoise", "answer"}
    for way, more in zip(result, (set(), {"select", "project"}, {"select", "project"}), strict=True):
        assert way["milliseconds"].keys() == common | more
        assert min(way["milliseconds"].values()) >= 0
        assert way["floor_ms"].keys() == (common | more) - {"preprocess"}
        assert way["floor_ms"]["answer"] > way["floor_ms"]["denoise"] > way["floor_ms"]["prefill"]
        assert all(count > 20 for count in way["launches"].values())
        assert way["over_floor"]["encode"] == pytest.approx(way["milliseconds"]["encode"] / way["floor_ms"]["encode"])
    assert json.loads(json.dumps(result)) == result
    assert "encode_images" not in vars(loaded[1])
    assert result[1]["launches"]["step"] == pytest.approx(result[2]["launches"]["step"], rel=0.1)


def test_launches_are_operators_on_a_cpu():
    tensor = torch.ones(3)
    assert count_launches(lambda: tensor + tensor * 2, torch.device("cpu")) == 2
    assert count_launches(lambda: None, torch.device("cpu")) == 0


def test_measured_peaks_are_what_the_device_reaches():
    peaks = measure_peaks(torch.device("cpu"), torch.float32)
    assert not peaks.published
    assert 1e8 < peaks.bytes_per_second < 1e13
    assert 1e8 < peaks.flops_per_second < 1e15


def test_the_floor_of_an_answer_is_that_of_its_parts(loaded):
    model, shirg = loaded[1], ways()[1].shirg
    shape = {"views": 1, "visual_tokens": 57, "prefix_tokens": 83, "answer": 8}
    one, four = (stage_floors(model, shirg, PEAKS, forwards=count, **shape) for count in (1, 4))
    assert four["answer"] - one["answer"] == pytest.approx(3 * one["step"])
    parts = ("encode", "select", "project", "prefill", "step")
    assert one["answer"] == pytest.approx(sum(one[part] for part in parts))
    # Bytes decide where arithmetic is free, and arithmetic where reading is.
    free = Peaks(bytes_per_second=1e30, flops_per_second=5e10)
    assert stage_floors(model, shirg, free, forwards=1, **shape)["step"] == pytest.approx(
        2e3 * language_weights(model.config) * 8 / 5e10
    )
    free = Peaks(bytes_per_second=1e10, flops_per_second=1e30)
    assert stage_floors(model, shirg, free, forwards=1, **shape)["prefill"] == pytest.approx(
        1e3 * language_weights(model.config) * model.dtype.itemsize / 1e10
    )
    tower = model.get_vision_tower()
    encode = vision_flops(tower.config, tower.num_layers_run, 144)
    assert one["encode"] == pytest.approx(1e3 * encode / 5e10)
    stock = stage_floors(model, None, PEAKS, forwards=1, **shape)
    assert stock.keys() == {"encode", "prefill", "step", "denoise", "answer"}


def test_floors_of_the_full_size_model():
    language, vision = LLaDAConfig(), SiglipVisionConfig(**FULL_SIZE_VISION)
    assert language_weights(language) * 2 == pytest.approx(14.99e9, rel=1e-3)
    assert prefill_flops(language, 1000) == pytest.approx(14.5e12, rel=0.01)
    assert vision_flops(vision, 26, 48**2) == pytest.approx(2.46e12, rel=0.01)
    assert vision_flops(vision, 26, 27**2, views=5) == pytest.approx(3.20e12, rel=0.01)
    dream = LlavaDreamConfig()
    # 6.53 billion weights of 28 layers, and a head of 0.54 billion.
    block = 3584 * (2 * 3584 + 2 * 512 + 3 * 18944)
    assert language_weights(dream) == 28 * block + 3584 * 152064
    assert cache_elements(dream, 1000) == 28 * 2 * 512 * 1000
    assert cache_elements(language, 1000) == 32 * 2 * 4096 * 1000
    assert peaks_of("NVIDIA H100 80GB HBM3").bytes_per_second == 3.35e12
    assert peaks_of("some CPU") is None


def test_results_say_where_they_come_from():
    found = provenance(torch.device("cpu"))
    assert {"commit", "device", "torch", "transformers", "threads", "python"} == set(found)
    assert all(found.values())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_model_with_random_weights_answers(monkeypatch, work, backbone):
    """The full-size builder, on a small config: every tensor is filled, and all stages run on it."""
    kind = BACKBONES[backbone].resolve()
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2}
    small = dict.fromkeys(("hidden_size", "intermediate_size"), 32) | layers
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_key_value_heads": None, **layers}
    config_class = kind.config_class

    def make(mm_vision_config):
        vision = {**mm_vision_config, **small}
        sized = {config_class.attribute_map.get(name, name): value for name, value in sizes.items()}
        return config_class(**sized, mm_hidden_size=32, mm_vision_config=vision)

    monkeypatch.setattr(kind, "config_class", make)
    model = full_size_model(torch.device("cpu"), torch.float32, backbone)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert model.model.final_norm.weight.eq(1).all()
    # Where a token is read from the position before it, the prompt has the first one.
    assert measure(model, ways()[:1], work, PEAKS, rounds=1)[0]["forwards"] == 8 - model.model.predicts_next
