"""A step of denoising as one captured graph."""

from dataclasses import replace

import pytest
import torch

from llava.model.builder import load_pretrained_model
from llava.model.language_model.diffusion import generate, predicting
from llava.model.language_model.diffusion.decoding import DecodingConfig
from tests.model.test_generate import MASK, prompt, run


@pytest.mark.gpu
def test_a_step_never_waits_for_the_device(tiny_checkpoint):
    _, model, _, _ = load_pretrained_model(tiny_checkpoint, device_map="cuda:0")
    prepared = model.prepare_inputs(prompt(14, 7))

    def forbid_waiting(step) -> None:
        torch.cuda.set_sync_debug_mode("error" if step.index < step.planned else "default")

    try:
        model.denoise(prepared, DecodingConfig(max_new_tokens=8, prefix_lm=True), on_step=forbid_waiting)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [{}, {"block_length": 4}, {"threshold": 0.6}, {"max_new_tokens": 1}])
def test_a_captured_step_gives_the_tokens_of_a_plain_one(tiny_checkpoint, settings):
    _, model, _, _ = load_pretrained_model(tiny_checkpoint, device_map="cuda:0")
    settings = {"max_new_tokens": 8, "prefix_lm": True, "mask_id": MASK, **settings}
    for lengths in ([7], [5, 11, 3]):
        prompts = [prompt(seed, length) for seed, length in enumerate(lengths)]
        plain = model.generate(prompts, **settings)
        assert torch.equal(model.generate(prompts, cuda_graph=True, **settings), plain)


def test_every_step_hands_the_same_tensor_to_what_is_captured(loaded, monkeypatch):
    """A recording reads the address of its first call; this stands for a GPU's in all but the recording."""

    class Step:
        def __init__(self, function):
            self.function, self.seen = function, []
            made.append(self)

        def __call__(self, tokens):
            self.seen.append(tokens)
            return self.function(tokens)

    made = []
    monkeypatch.setattr(predicting, "CapturedStep", Step)
    monkeypatch.setattr(generate, "check_capturable", lambda model: None)
    settings = DecodingConfig(max_new_tokens=8, block_length=4, prefix_lm=True)
    assert torch.equal(run(loaded, replace(settings, cuda_graph=True)), run(loaded, settings))
    (step,) = made
    assert len(step.seen) == 8
    assert all(tokens is step.seen[0] for tokens in step.seen)


def test_a_step_is_captured_on_a_gpu_only(loaded):
    with pytest.raises(ValueError, match="cuda_graph needs the language model on one CUDA device, but it lies on cpu"):
        loaded[1].generate(prompt(15, 5), max_new_tokens=4, prefix_lm=True, cuda_graph=True)
