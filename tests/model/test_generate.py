"""Denoising: laws of batches, blocks, stopping, thresholds and infilling, on a checkpoint as users load it."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llava.mm_utils import process_images
from llava.model.language_model.diffusion import generate
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.generate import denoise
from tests.model.test_parity import block_image

MASK = 500


def prompt(seed: int, length: int, images: int = 0) -> torch.Tensor:
    ids = torch.randint(0, 490, (length,), generator=torch.Generator().manual_seed(seed))
    for image in range(images):
        ids[2 + 3 * image] = -200
    return ids


@pytest.fixture(scope="module")
def pages(loaded):
    images = [block_image(100, 100, 1), block_image(300, 90, 2), block_image(64, 200, 3)]
    return process_images(images, loaded[2], loaded[1].config), [image.size for image in images]


@pytest.mark.parametrize("prefix_lm", [False, True])
def test_a_batch_answers_as_its_samples_alone(loaded, pages, prefix_lm):
    model = loaded[1]
    views, sizes = pages
    settings = {"prefix_lm": prefix_lm, "max_new_tokens": 8, "block_length": 4, "mask_id": MASK}
    samples = [(prompt(1, 7), []), (prompt(2, 13, images=2), [0, 1]), (prompt(3, 11, images=1), [2])]
    together = model.generate([ids for ids, _ in samples], views, sizes, **settings)
    for row, (ids, own) in zip(together, samples, strict=True):
        alone = model.generate(ids, [views[i] for i in own] or None, [sizes[i] for i in own] or None, **settings)
        assert torch.equal(row, alone[0])


def test_padding_may_stand_on_either_side(loaded):
    model = loaded[1]
    short, long = prompt(4, 5), prompt(5, 11)
    expected = model.generate([short, long], max_new_tokens=8, mask_id=MASK, prefix_lm=True)
    pad = model.config.pad_token_id
    right = torch.stack([torch.cat([short, torch.full((6,), pad)]), long])
    assert torch.equal(model.generate(right, max_new_tokens=8, mask_id=MASK, prefix_lm=True), expected)
    left = torch.stack([torch.cat([torch.full((6,), pad), short]), long])
    mask = torch.tensor([[0] * 6 + [1] * 5, [1] * 11])
    found = model.generate(left, attention_mask=mask, max_new_tokens=8, mask_id=MASK, prefix_lm=True)
    assert torch.equal(found, expected)
    assert torch.equal(model.generate(left, max_new_tokens=8, mask_id=MASK, prefix_lm=True), expected)
    for alone in (right[:1], left[0], torch.cat([left[:1, :3], right[:1, :7]], dim=1)):
        found = model.generate(alone, max_new_tokens=8, mask_id=MASK, prefix_lm=True)
        assert torch.equal(found, expected[:1])
    with pytest.raises(ValueError, match="all padding"):
        model.generate(torch.stack([torch.full((11,), pad), long]), max_new_tokens=8)


def test_the_tower_runs_once(loaded, pages, monkeypatch):
    model = loaded[1]
    calls = []
    tower = model.get_vision_tower()
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda pixels: (calls.append(len(pixels)), forward(pixels))[1])
    views, sizes = pages
    model.generate(prompt(6, 9, images=1), views[:1], sizes[:1], max_new_tokens=8, mask_id=MASK, prefix_lm=True)
    assert calls == [len(views[0])]


def test_the_head_sees_the_active_block_only(loaded, monkeypatch):
    model = loaded[1]
    widths = []
    head = model.model.compute_logits
    monkeypatch.setattr(
        model.model, "compute_logits", lambda hidden: (widths.append(hidden.shape[-2]), head(hidden))[1]
    )
    model.generate(prompt(7, 5), max_new_tokens=12, block_length=4, mask_id=499, prefix_lm=True)
    assert widths == [4] * 12


def run(loaded, settings: DecodingConfig, **options):
    return progress_of(loaded, settings, **options).tokens


def progress_of(loaded, settings: DecodingConfig, *, stop=(), fill=0, draft=None, watch=None):
    model = loaded[1]
    prepared = model.prepare_inputs(prompt(8, 7))
    return denoise(
        model.model,
        prepared.embeds,
        prepared.lengths,
        settings,
        mask_id=MASK,
        stop_ids=stop,
        fill_id=fill,
        draft_tokens=draft,
        on_step=watch,
    )


def test_stopping_keeps_the_answer_and_fills_what_follows(loaded):
    settings = {"max_new_tokens": 16, "block_length": 4, "prefix_lm": True}
    full = run(loaded, DecodingConfig(**settings), stop=(511,))[0].tolist()
    stop = full[5]
    end = full.index(stop)
    steps = []
    stopped = run(
        loaded,
        DecodingConfig(**settings, stop_at_end_of_turn=True),
        stop=(stop,),
        fill=510,
        watch=lambda step: steps.append(step.index),
    )[0].tolist()
    assert stopped[: end + 1] == full[: end + 1]
    assert stopped[end + 1 :] == [510] * (15 - end)
    assert len(steps) <= 8


def test_stopping_waits_for_nothing_but_what_stands_before_the_end(loaded):
    """A drafted end behind one gap: done as soon as that gap is settled."""
    draft = torch.tensor([[MASK, MASK, 77]])
    free = []
    run(
        loaded,
        DecodingConfig(max_new_tokens=16, prefix_lm=True),
        draft=draft,
        watch=lambda s: free.append(s.tokens.clone()),
    )
    needed = next(index for index, tokens in enumerate(free, start=1) if not (tokens[0, :2] == MASK).any())
    assert needed < 15, "otherwise this test shows nothing"
    steps = []
    settings = DecodingConfig(max_new_tokens=16, prefix_lm=True, stop_at_end_of_turn=True)
    tokens = run(loaded, settings, stop=(77,), fill=510, draft=draft, watch=lambda step: steps.append(step))
    assert len(steps) == needed
    assert tokens[0, 3:].tolist() == [510] * 13


def test_blocks_behind_the_end_are_skipped(loaded):
    draft = torch.tensor([[MASK, MASK, MASK, 77]])
    steps = []
    settings = DecodingConfig(max_new_tokens=16, block_length=4, prefix_lm=True, stop_at_end_of_turn=True)
    run(loaded, settings, stop=(77,), fill=510, draft=draft, watch=lambda step: steps.append(step))
    assert len(steps) == 3


def test_a_block_is_done_when_each_sample_has_ended_or_filled_it(loaded):
    model = loaded[1]
    draft = torch.tensor([[77, MASK, MASK, MASK], [5, 6, 7, MASK]])
    prepared = model.prepare_inputs([prompt(8, 7), prompt(9, 5)])
    settings = DecodingConfig(max_new_tokens=4, prefix_lm=True, stop_at_end_of_turn=True, threshold=1 - 1e-9)
    steps = []
    denoise(
        model.model,
        prepared.embeds,
        prepared.lengths,
        settings,
        mask_id=MASK,
        stop_ids=(77,),
        fill_id=510,
        draft_tokens=draft,
        on_step=lambda step: steps.append(step),
    )
    assert len(steps) == 1


def test_the_model_s_own_ids_end_an_answer(loaded, monkeypatch):
    model = loaded[1]
    settings = {"max_new_tokens": 12, "prefix_lm": True, "mask_id": 499}
    full = model.generate(prompt(8, 7), **settings)[0].tolist()
    for name in ("eot_token_id", "eos_token_id"):
        with monkeypatch.context() as patched:
            patched.setattr(model.config, name, full[4])
            stopped = model.generate(prompt(8, 7), **settings, stop_at_end_of_turn=True)[0].tolist()
            end = full.index(full[4])
            assert stopped == full[: end + 1] + [model.config.eos_token_id] * (11 - end)


def test_a_list_of_prompts_is_never_taken_for_padded(loaded):
    model = loaded[1]
    ending = torch.tensor([3, 5, 7, 510, 510])
    together = model.prepare_inputs([ending, torch.tensor([4, 6])])
    assert together.lengths == (5, 2)
    assert model.prepare_inputs(torch.stack([ending, ending.flip(0)])).lengths == (3, 3)


@pytest.mark.parametrize(
    ("inputs", "arguments", "named"),
    [
        ([], {}, "no prompt"),
        (torch.zeros(1, 0, dtype=torch.long), {}, "empty"),
        (torch.tensor([[3, -7]]), {}, "-7"),
        (torch.tensor([[3, 512]]), {}, "512"),
        (torch.tensor([[3, 5]]), {"draft_tokens": torch.tensor([[9999]])}, "9999"),
        (torch.tensor([[3, 5]]), {"attention_mask": torch.ones(1, 3)}, "attention_mask"),
    ],
)
def test_ids_without_embedding_and_rows_that_do_not_fit_are_named(loaded, inputs, arguments, named):
    with pytest.raises(ValueError, match=named):
        loaded[1].generate(inputs, max_new_tokens=4, **arguments)


def test_a_threshold_near_one_settles_the_surest_token_each_step(loaded):
    one_by_one = run(loaded, DecodingConfig(max_new_tokens=12, prefix_lm=True))
    steps = []
    careful = DecodingConfig(max_new_tokens=12, prefix_lm=True, threshold=1 - 1e-9)
    assert torch.equal(run(loaded, careful, watch=lambda step: steps.append(step)), one_by_one)
    assert len(steps) == 12


def test_a_threshold_near_zero_settles_everything_at_once(loaded):
    at_once = run(loaded, DecodingConfig(max_new_tokens=12, prefix_lm=True, steps=1))
    steps = []
    bold = DecodingConfig(max_new_tokens=12, prefix_lm=True, threshold=1e-9)
    assert torch.equal(run(loaded, bold, watch=lambda step: steps.append(step)), at_once)
    assert len(steps) == 1


class _Reads(TorchDispatchMode):
    """Counts how often a number leaves its tensor for the host, for which a GPU would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("settings", "reads"), [({}, 0), ({"remasking": "margin"}, 0), ({"threshold": 1 - 1e-9}, 1)])
def test_a_step_reads_no_number_but_whether_a_threshold_is_done(loaded, settings, reads):
    """One position a step both times, so that seven more positions are seven more steps."""
    counts = []
    for length in (4, 11):
        with _Reads() as seen:
            run(loaded, DecodingConfig(max_new_tokens=length, prefix_lm=True, **settings))
        counts.append(seen.count)
    assert counts[1] - counts[0] == 7 * reads


def test_a_settled_end_settles_what_is_behind_it(loaded, monkeypatch):
    """Positions before it go on; those behind it take no step of their own, however unsure the model is of them."""
    sure, stop, fill, length = [4, 9], 77, 510, 12

    def predict(tokens, start, end):
        logits = torch.zeros(*tokens.shape, 512)
        logits[..., torch.arange(length), torch.arange(length) + 20] = 2.0
        for place in sure:
            logits[..., place, stop] = 50.0
        return logits[..., start:end, :]

    monkeypatch.setattr(generate, "make_predictor", lambda *_: (predict, None))
    settings = DecodingConfig(max_new_tokens=length, prefix_lm=True, stop_at_end_of_turn=True, threshold=0.95)
    done = progress_of(loaded, settings, stop=(stop,), fill=fill)
    assert done.tokens[0].tolist() == [20, 21, 22, 23, stop, *[fill] * 7]
    # Both ends at once, then one position a step, since none is that sure.
    assert done.settled_in[0].tolist() == [2, 3, 4, 5, *[1] * 8]
    assert done.forwards.tolist() == done.steps.tolist() == [5]
    assert (done.probabilities[0, 5:9] == 1).all()
    without = progress_of(loaded, replace(settings, stop_at_end_of_turn=False), stop=(stop,), fill=fill)
    assert without.forwards.tolist() == [11]
    by_blocks = progress_of(loaded, replace(settings, block_length=4), stop=(stop,), fill=fill)
    assert by_blocks.tokens.tolist() == done.tokens.tolist()
    assert by_blocks.forwards.tolist() == [5]


def test_each_row_of_a_batch_counts_its_own_forwards(loaded):
    model = loaded[1]
    settings = DecodingConfig(max_new_tokens=8, prefix_lm=True, stop_at_end_of_turn=True, threshold=0.02)
    prompts = [prompt(seed, length) for seed, length in ((8, 7), (9, 5), (21, 11), (22, 3))]
    together = model.denoise(model.prepare_inputs(prompts), settings, mask_id=MASK)
    alone = [model.denoise(model.prepare_inputs(each), settings, mask_id=MASK) for each in prompts]
    counts = together.forwards.tolist()
    assert counts == [int(each.forwards) for each in alone]
    assert len(set(counts)) > 1, "otherwise this test shows nothing"
    for name in ("tokens", "settled_in", "steps"):
        assert getattr(together, name).tolist() == [getattr(each, name)[0].tolist() for each in alone]


def test_a_draft_is_kept_and_only_its_gaps_are_filled(loaded):
    draft = torch.tensor([[11, MASK, MASK, 12, 13, MASK]])
    steps = []
    tokens = run(
        loaded,
        DecodingConfig(max_new_tokens=8, block_length=4, prefix_lm=True, schedule="shift"),
        draft=draft,
        watch=lambda step: steps.append(step.planned),
    )[0]
    assert tokens[[0, 3, 4]].tolist() == [11, 12, 13]
    assert steps == [5] * 5


@pytest.mark.parametrize("settings", [{}, {"remasking": "entropy", "temperature": 0.7}, {"threshold": 0.01}])
def test_observers_learn_how_probable_each_token_was_when_it_was_settled(loaded, monkeypatch, settings):
    model, head, rows = loaded[1], loaded[1].model.compute_logits, []
    monkeypatch.setattr(model.model, "compute_logits", lambda hidden: rows.append(head(hidden)) or rows[-1])
    draft = torch.full((1, 6), MASK)
    draft[0, 2] = 7
    seen = []

    def watch(step):
        seen.append((step.tokens.clone(), step.progress.probabilities.clone()))

    arguments = {"draft_tokens": draft, "max_new_tokens": 6, "mask_id": MASK, "prefix_lm": True, **settings}
    ids = prompt(12, 9)
    tokens = model.generate(ids, generator=torch.Generator().manual_seed(3), on_step=watch, **arguments)
    steps = list(rows)
    assert torch.equal(tokens, model.generate(ids, generator=torch.Generator().manual_seed(3), **arguments))
    before = draft
    expected = (draft != MASK).float()
    for (now, probabilities), logits in zip(seen, steps, strict=True):
        settled = (now != MASK) & (before == MASK)
        chosen = logits.float().softmax(-1).gather(-1, now[..., None].clamp(max=logits.shape[-1] - 1))[..., 0]
        expected = torch.where(settled, chosen, expected)
        torch.testing.assert_close(probabilities, expected)
        before = now
    assert expected[0, 2] == 1
    assert (expected > 0).all()


def test_a_fully_drafted_block_takes_no_step(loaded):
    draft = torch.tensor([[11, 12, 13, 14]])
    steps = []
    tokens = run(
        loaded,
        DecodingConfig(max_new_tokens=8, block_length=4, prefix_lm=True),
        draft=draft,
        watch=lambda step: steps.append(step),
    )
    assert tokens[0, :4].tolist() == [11, 12, 13, 14]
    assert len(steps) == 4


def test_a_draft_that_does_not_fit_is_refused(loaded):
    with pytest.raises(ValueError, match="draft_tokens"):
        run(loaded, DecodingConfig(max_new_tokens=4), draft=torch.zeros(1, 5, dtype=torch.long))


def test_sampling_is_reproducible(loaded):
    def sample(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return loaded[1].generate(prompt(9, 5), max_new_tokens=8, temperature=2.0, mask_id=MASK, generator=generator)

    assert torch.equal(sample(1), sample(1))
    assert not torch.equal(sample(1), sample(2))


def test_history_holds_copies_that_grow(loaded):
    tokens, history = loaded[1].generate(prompt(10, 5), max_new_tokens=6, mask_id=499, verbose=True, prefix_lm=True)
    open_positions = [int((step == 499).sum()) for step in history]
    assert open_positions == [5, 4, 3, 2, 1, 0]
    assert torch.equal(history[-1], tokens)


def test_too_long_a_prompt_gives_the_lengths(loaded):
    with pytest.raises(ValueError, match=r"4090.*32.*4096"):
        loaded[1].generate(prompt(11, 4090), max_new_tokens=32)


def test_images_and_placeholders_must_pair_up(loaded, pages):
    views, sizes = pages
    with pytest.raises(ValueError, match="1 <image> placeholders"):
        loaded[1].generate(prompt(12, 9, images=1), views[:2], sizes[:2])
    with pytest.raises(ValueError, match="image_sizes"):
        loaded[1].generate(prompt(12, 9, images=1), views[:1])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": 10, "block_length": 4}, "block_length=4"),
        ({"steps": 3, "block_length": 4, "max_new_tokens": 16}, "steps=3"),
        ({"steps": 4, "step_per_block": 2}, "exclude"),
        ({"step_ratio": 0.001}, "step_ratio"),
        ({"temperature": -1.0}, "temperature"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": 0.9, "remasking": "margin"}, "threshold"),
        ({"threshold": 0.9, "steps": 4}, "steps plans what threshold decides"),
        ({"threshold": 0.9, "schedule": "shift"}, "schedule plans what threshold decides"),
        ({"cuda_graph": True}, "turn prefix_lm on"),
        ({"remasking": "sure"}, "sure"),
        ({"schedule": "ramp"}, "ramp"),
    ],
)
def test_wrong_decoding_settings_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        DecodingConfig(**settings)


def test_misspelt_settings_are_refused_and_idle_ones_of_llava_accepted(loaded):
    with pytest.raises(TypeError, match="max_new_token"):
        loaded[1].generate(prompt(13, 5), max_new_token=4)
    with pytest.raises(ValueError, match="num_beams"):
        loaded[1].generate(prompt(13, 5), num_beams=3)
    loaded[1].generate(prompt(13, 5), max_new_tokens=4, do_sample=False, num_beams=1, tokenizer=loaded[0])
