"""A whole step as one recording over buffers that are kept from answer to answer."""

import copy
from dataclasses import replace

import pytest
import torch

from llava.model.builder import load_pretrained_model
from llava.model.language_model.diffusion import generate, kept_steps
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.kept_steps import KeptSteps
from tests.model.taped_graph import tape_graphs
from tests.model.test_generate import MASK, prompt

PLAIN = DecodingConfig(max_new_tokens=8, prefix_lm=True)
KINDS = [
    {},
    {"block_length": 4},
    {"threshold": 0.02, "stop_at_end_of_turn": True},
    {"stop_at_end_of_turn": True, "schedule": "shift", "steps": 5},
    {"timesteps": 6, "steps": 6, "remasking": "margin"},
    {"max_new_tokens": 1},
    {"top_k": 7, "remasking": "entropy"},
]
PROMPTS = [[prompt(1, 7)], [prompt(2, 13)], [prompt(3, 5)]]


@pytest.fixture(params=["llada", "dream"])
def fresh(request, loaded, dream_loaded):
    """A model that has recorded nothing yet."""
    model = (loaded if request.param == "llada" else dream_loaded)[1]
    model.kept_steps = KeptSteps()
    yield model
    model.kept_steps = KeptSteps()


@pytest.fixture
def graphs(monkeypatch):
    monkeypatch.setattr(generate, "check_capturable", lambda model: None)
    return tape_graphs(monkeypatch)


def answer(model, prompts, config):
    return model.denoise(model.prepare_inputs(prompts), config, mask_id=MASK)


def assert_alike(found, expected):
    for name in ("tokens", "settled_in", "steps", "forwards"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    torch.testing.assert_close(found.probabilities, expected.probabilities)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_recorded_steps_give_the_answers_of_plain_ones(fresh, graphs, settings):
    config = replace(PLAIN, **settings)
    batches = [*PROMPTS, [prompt(4, 5), prompt(5, 11), prompt(6, 3)], *PROMPTS]
    found = [answer(fresh, prompts, replace(config, cuda_graph=True)) for prompts in batches]
    for prompts, one in zip(batches, found, strict=True):
        assert_alike(one, answer(fresh, prompts, config))


def test_later_answers_replay_what_the_first_has_recorded(fresh, graphs, monkeypatch):
    runs, original = [], type(fresh.model).denoise

    def counted(self, *args):
        runs.append(1)
        return original(self, *args)

    monkeypatch.setattr(type(fresh.model), "denoise", counted)
    config = replace(PLAIN, block_length=4, cuda_graph=True)
    steps = sum(int(answer(fresh, prompts, config).steps) for prompts in PROMPTS)
    # For each of the two blocks, once plainly and once to be recorded.
    assert len(runs) == 4
    assert sum(graph.replays for graph in graphs) == steps - 2
    assert len(graphs) == 2


def test_nothing_of_a_longer_prompt_is_seen_by_a_shorter_one(fresh, graphs):
    config = replace(PLAIN, cuda_graph=True)
    expected = answer(fresh, [prompt(1, 5)], PLAIN)
    answer(fresh, [prompt(2, 29)], config)
    ((_, buffers),) = fresh.kept_steps._kept
    for kept in (*buffers.cache.keys, *buffers.cache.values):
        kept.fill_(torch.nan)
    assert_alike(answer(fresh, [prompt(1, 5)], config), expected)
    assert len(fresh.kept_steps._kept) == 1


def test_room_grows_with_the_prompt_and_the_oldest_kinds_are_forgotten(fresh, graphs, monkeypatch):
    monkeypatch.setattr(kept_steps, "ROOM", 4)
    for length in (3, 4, 5, 9, 13, 17, 21):
        expected = answer(fresh, [prompt(length, length)], PLAIN)
        assert_alike(answer(fresh, [prompt(length, length)], replace(PLAIN, cuda_graph=True)), expected)
    assert [buffers.cache.prefix_length for _, buffers in fresh.kept_steps._kept] == [12, 16, 20, 24]


def test_a_model_with_other_weights_is_recorded_anew(tiny_dream_checkpoint, graphs):
    _, model, _, _ = load_pretrained_model(tiny_dream_checkpoint, device_map="cpu")
    config = replace(PLAIN, cuda_graph=True)
    answer(model, PROMPTS[0], config)
    model.double()
    expected = answer(model, PROMPTS[0], PLAIN)
    assert_alike(answer(model, PROMPTS[0], config), expected)
    head = model.get_output_embeddings()
    assert all(head.weight is not each for each in model.model.parameters()), "the head lies outside"
    head.weight.data = head.weight.data.flip(0)
    expected = answer(model, PROMPTS[0], PLAIN)
    assert_alike(answer(model, PROMPTS[0], config), expected)
    assert len(graphs) == 3


def test_an_answer_is_not_overwritten_by_the_next(fresh, graphs):
    config = replace(PLAIN, cuda_graph=True)
    first = answer(fresh, PROMPTS[0], config)
    before = first.copy()
    answer(fresh, PROMPTS[1], config)
    assert_alike(first, before)


def test_a_copied_model_keeps_nothing(fresh, graphs):
    answer(fresh, PROMPTS[0], replace(PLAIN, cuda_graph=True))
    assert fresh.kept_steps._kept
    assert not copy.deepcopy(fresh.kept_steps)._kept


def test_a_recording_refuses_what_waits_for_the_device(fresh, graphs, monkeypatch):
    """The stand-in for a GPU notices; without this, the tests above would show less than they seem to."""
    done = generate.Ending.done

    def waiting(self, tokens, start, end):
        bool(tokens.any())
        return done(self, tokens, start, end)

    monkeypatch.setattr(generate.Ending, "done", waiting)
    with pytest.raises(AssertionError, match="waits for the device"):
        answer(fresh, PROMPTS[0], replace(PLAIN, cuda_graph=True))


@pytest.mark.parametrize("settings", [{"temperature": 0.5}, {"order_temperature": 0.5}, {"remasking": "random"}])
def test_steps_that_draw_are_not_recorded(settings):
    with pytest.raises(ValueError, match="cuda_graph replays one recorded step, which can draw nothing"):
        replace(PLAIN, cuda_graph=True, **settings)


def test_a_step_is_captured_on_a_gpu_only(loaded):
    with pytest.raises(ValueError, match="cuda_graph needs the language model on one CUDA device, but it lies on cpu"):
        loaded[1].generate(prompt(15, 5), max_new_tokens=4, prefix_lm=True, cuda_graph=True)


@pytest.mark.gpu
def test_a_step_never_waits_for_the_device(tiny_checkpoint):
    _, model, _, _ = load_pretrained_model(tiny_checkpoint, device_map="cuda:0")
    prepared = model.prepare_inputs(prompt(14, 7))

    def forbid_waiting(step) -> None:
        torch.cuda.set_sync_debug_mode("error" if step.index < step.planned else "default")

    try:
        model.denoise(prepared, PLAIN, on_step=forbid_waiting)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_gpu_gives_the_same_tokens_recorded(tiny_checkpoint, settings):
    _, model, _, _ = load_pretrained_model(tiny_checkpoint, device_map="cuda:0")
    config = replace(PLAIN, **settings)
    for prompts in [*PROMPTS, [prompt(4, 5), prompt(5, 11), prompt(6, 3)], *PROMPTS]:
        found = answer(model, prompts, replace(config, cuda_graph=True))
        assert torch.equal(found.tokens, answer(model, prompts, config).tokens)
