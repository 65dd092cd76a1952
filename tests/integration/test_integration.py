"""SHIRG-X inside LaViDa: the life of the patch, on a checkpoint as users load it."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from lavida_shirg_integration import ShirgX, apply_shirg_x
from llava.mm_utils import process_images
from llava.model import LlavaLladaConfig, LlavaLladaForMaskedDiffusion
from llava.model.builder import load_pretrained_model
from llava.speed.workload import FULL_SIZE_VISION
from shirg import ShirgXConfig
from shirg.parts import PARTS
from tests.integration_helpers import (
    IMAGES,
    SMALL,
    answer,
    question,
    set_coord_out,
    views_and_sizes,
)


def test_the_patch_changes_the_output_and_undo_restores_it_bit_for_bit(patchable, model):
    views, sizes = views_and_sizes(patchable, model)
    before, config = model.encode_images(views, sizes), model.config
    saved_config = copy.deepcopy(config.to_dict())
    answered = answer(patchable, model)
    handle = apply_shirg_x(model, SMALL)
    patched_views, _ = views_and_sizes(patchable, model)
    patched = model.encode_images(patched_views, sizes, [question(patchable, "Total?")] * 3)
    assert patched[0].shape != before[0].shape
    assert not torch.equal(answer(patchable, model), answered)
    handle.remove()
    assert all(torch.equal(old, new) for old, new in zip(before, model.encode_images(views, sizes), strict=True))
    assert torch.equal(answer(patchable, model), answered)
    assert model.config is config
    assert config.to_dict() == saved_config
    assert not hasattr(config, "image_view")
    again = apply_shirg_x(model, SMALL)
    assert_close(
        model.encode_images(patched_views, sizes, [question(patchable, "Total?")] * 3), patched, atol=0, rtol=0
    )
    again.remove()


def test_two_patches_do_not_stack_and_a_removed_one_stays_removed(model):
    handle = apply_shirg_x(model, SMALL)
    with pytest.raises(RuntimeError, match="already"):
        apply_shirg_x(model, SMALL)
    handle.remove()
    with pytest.raises(RuntimeError, match="already"):
        handle.remove()


def test_an_error_inside_the_context_still_removes_the_patch(model):
    with pytest.raises(KeyError, match="mine"), apply_shirg_x(model, SMALL):
        raise KeyError("mine")


def test_two_patched_models_do_not_touch_each_other(patchable, model, tiny_checkpoint):
    other = load_pretrained_model(tiny_checkpoint, device_map="cpu")[1]
    stock = answer(patchable, other)
    with apply_shirg_x(model, SMALL.replace(budget=32)), apply_shirg_x(other, SMALL.replace(budget=64)):
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        asked = [question(patchable, "Total?")]
        assert len(model.encode_images(views, sizes, asked)[0]) == 9 + 32
        assert len(other.encode_images(views, sizes, asked)[0]) == 9 + 64
        assert other.shirg_x is not model.shirg_x
    assert torch.equal(answer(patchable, other), stock)


def test_a_shared_config_object_does_not_change_under_its_holder(patchable, model):
    held = model.config
    with apply_shirg_x(model, SMALL):
        assert model.config is not held
        assert process_images(IMAGES[:1], patchable[2], held)[0].shape[-1] == 384


def test_the_tower_runs_once_and_the_cached_prefix_stays_bit_identical(patchable, model, monkeypatch):
    calls, caches = [], []
    tower = model.get_vision_tower()
    forward, prefill = tower.forward, model.model.prefill
    monkeypatch.setattr(tower, "forward", lambda pixels: (calls.append(1), forward(pixels))[1])

    def keep(*args, **kwargs):
        cache = prefill(*args, **kwargs)
        caches.append((cache, [states.clone() for layer in range(2) for states in cache.prefix(layer)]))
        return cache

    monkeypatch.setattr(model.model, "prefill", keep)
    with apply_shirg_x(model, SMALL):
        answer(patchable, model)
    assert len(calls) == len(caches) == 1
    cache, before = caches[0]
    after = [states for layer in range(2) for states in cache.prefix(layer)]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_untrained_coordinates_move_nothing_and_trained_ones_do(patchable, model):
    asked = [question(patchable, "Total?")] * 3
    with apply_shirg_x(model, SMALL.replace(coordinates=False)):
        views, sizes = views_and_sizes(patchable, model)
        without = model.encode_images(views, sizes, asked)
    with apply_shirg_x(model, SMALL) as handle:
        untrained = model.encode_images(views, sizes, asked)
        assert all(torch.equal(old, new) for old, new in zip(without, untrained, strict=True))
        set_coord_out(handle)
        trained = model.encode_images(views, sizes, asked)
        assert not torch.allclose(trained[0][:9], untrained[0][:9])
        assert not torch.allclose(trained[0][9:], untrained[0][9:])
    with apply_shirg_x(model, SMALL.replace(coordinates_on_scaffold=False)) as handle:
        set_coord_out(handle)
        detail_only = model.encode_images(views, sizes, asked)
        assert torch.equal(detail_only[0][:9], untrained[0][:9])
        assert not torch.allclose(detail_only[0][9:], untrained[0][9:])


def test_gradients_reach_the_coordinates_and_the_projector(patchable, model):
    with apply_shirg_x(model, SMALL) as handle:
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])

        def gradients() -> dict[str, float]:
            model.zero_grad()
            model.encode_images(views, sizes, [question(patchable, "Total?")])[0].square().mean().backward()
            layers = {
                "coord_linear": model.shirg_x.coordinates.coord_linear,
                "coord_out": model.shirg_x.coordinates.coord_out,
                "projector": model.model.mm_projector[0],
            }
            return {name: layer.weight.grad.abs().sum().item() for name, layer in layers.items()}

        at_zero = gradients()
        assert at_zero["coord_linear"] == 0
        assert at_zero["coord_out"] > 0
        set_coord_out(handle)
        assert min(gradients().values()) > 0
    model.zero_grad()


def test_saved_with_the_model_and_found_again(patchable, model, tmp_path):
    with apply_shirg_x(model, SMALL.replace(similarity="learned", budget=32)) as handle:
        set_coord_out(handle)
        model.save_pretrained(tmp_path)
        patchable[0].save_pretrained(tmp_path)
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        expected = model.encode_images(views, sizes, [question(patchable, "Total?")])[0]
        learned = handle.config
    again = load_pretrained_model(tmp_path, device_map="cpu")[1]
    assert not hasattr(again.config, "image_view"), "a live patch is never saved"
    with apply_shirg_x(again) as handle:
        assert handle.config == learned
        assert torch.equal(again.encode_images(views, sizes, [question(patchable, "Total?")])[0], expected)
    with apply_shirg_x(again, learned.replace(similarity="auto")) as handle:
        assert handle.config.similarity == "learned"


def test_saved_alone_and_given_to_another_model(patchable, model, tmp_path):
    with apply_shirg_x(model, SMALL) as handle:
        set_coord_out(handle)
        handle.save(tmp_path)
        weights = copy.deepcopy(model.shirg_x.state_dict())
    with apply_shirg_x(model, SMALL, weights=tmp_path) as handle:
        assert all(torch.equal(weights[key], value) for key, value in model.shirg_x.state_dict().items())
        assert handle.config.similarity == "projected"
    settings = tmp_path / "shirg_x.json"
    settings.write_text(json.dumps({"format_version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        apply_shirg_x(model, SMALL, weights=tmp_path)
    settings.unlink()
    with pytest.raises(ValueError, match=r"shirg_x\.json"):
        apply_shirg_x(model, SMALL, weights=tmp_path)


def test_weights_that_do_not_fit_or_are_not_there_are_refused(patchable, model, tmp_path):
    with apply_shirg_x(model, SMALL) as handle:
        handle.save(tmp_path)
    with pytest.raises(ValueError, match="coord_linear"):
        apply_shirg_x(model, SMALL.replace(coordinate_dim=64), weights=tmp_path)
    with pytest.raises(FileNotFoundError, match="no SHIRG-X weights"):
        apply_shirg_x(model, SMALL, weights=tmp_path / "elsewhere")
    (tmp_path / "shirg_x.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"shirg_x\.safetensors"):
        apply_shirg_x(model, SMALL, weights=tmp_path)


def test_sources_that_need_more_layers_say_how_to_get_them(tiny_checkpoint):
    stock = load_pretrained_model(tiny_checkpoint, device_map="cpu")[1]
    for source in ("attention", "siglip"):
        with pytest.raises(ValueError, match="keep_all_layers"):
            apply_shirg_x(stock, SMALL.replace(similarity=source))
    assert not hasattr(stock, "shirg_x")


def test_stock_mode_needs_no_scoring_layers(tiny_checkpoint):
    stock = load_pretrained_model(tiny_checkpoint, device_map="cpu")[1]
    with apply_shirg_x(stock, SMALL.replace(mode="stock", similarity="siglip")):
        assert "encode_images" not in vars(stock)


def test_stock_mode_is_lavida(patchable, model):
    expected = answer(patchable, model)
    with apply_shirg_x(model, SMALL.replace(mode="stock")):
        assert torch.equal(answer(patchable, model), expected)


def test_views_made_before_the_patch_are_refused_with_the_mend(patchable, model):
    views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
    with apply_shirg_x(model, SMALL), pytest.raises(ValueError, match="process_images"):
        model.encode_images(views, sizes, [question(patchable, "Total?")])
    with apply_shirg_x(model, SMALL):
        patched, _ = views_and_sizes(patchable, model, IMAGES[:1])
    with pytest.raises(ValueError, match="process_images"):
        model.encode_images(patched, sizes)


def test_learned_without_weights_warns_or_refuses(patchable, model, tmp_path, caplog):
    learned = SMALL.replace(similarity="learned")
    with caplog.at_level("WARNING", logger="shirg"), apply_shirg_x(model, learned):
        assert "no weights yet" in caplog.text
    with apply_shirg_x(model, SMALL) as handle:
        handle.save(tmp_path)
    with pytest.raises(ValueError, match="learned"):
        apply_shirg_x(model, learned, weights=tmp_path)


@pytest.fixture
def saved_with_weights(patchable, model, tmp_path):
    """A checkpoint whose coordinates, budget head and relevance are no fresh ones."""
    with apply_shirg_x(model, SMALL.replace(similarity="learned")) as handle:
        set_coord_out(handle)
        with torch.no_grad():
            model.shirg_x.budget_head.out.weight.fill_(0.25)
            model.shirg_x.relevance.patch_map.weight.fill_(0.25)
        model.save_pretrained(tmp_path)
        patchable[0].save_pretrained(tmp_path)
    return load_pretrained_model(tmp_path, device_map="cpu")[1], tmp_path


def test_starting_fresh_on_a_checkpoint_that_holds_weights(saved_with_weights):
    again, _ = saved_with_weights
    with apply_shirg_x(again, SMALL, weights=False):
        assert not again.shirg_x.coordinates.coord_out.weight.any()
        assert not again.shirg_x.budget_head.out.weight.any()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("part", PARTS)
def test_single_parts_start_fresh(saved_with_weights, tmp_path_factory, part, alone):
    again, directory = saved_with_weights
    learned = SMALL.replace(similarity="learned")
    if alone:
        directory = tmp_path_factory.mktemp("alone")
        with apply_shirg_x(again, learned) as handle:
            handle.save(directory)
    with apply_shirg_x(again, learned, weights=directory, fresh=[part]):
        module = again.shirg_x
        kept = {
            "coordinates": bool(module.coordinates.coord_out.weight.any()),
            "budget_head": bool(module.budget_head.out.weight.any()),
            "relevance": bool((module.relevance.patch_map.weight == 0.25).all()),
        }
    assert kept == {name: name != part for name in PARTS}


def test_a_part_that_does_not_exist_cannot_start_fresh(model):
    with pytest.raises(ValueError, match="no part 'budget'"):
        apply_shirg_x(model, SMALL, fresh=["budget"])


def test_a_head_for_other_budgets_starts_fresh_and_says_so_if_it_is_asked(saved_with_weights, caplog):
    again, directory = saved_with_weights
    first, last = SMALL.budgets[0], SMALL.budgets[-1]
    for budgets in ((first, last), (*SMALL.budgets[:-1], last + 1)):
        for weights in (None, directory):
            caplog.clear()
            other = SMALL.replace(similarity="learned", budgets=budgets)
            with apply_shirg_x(again, other.replace(budget=first), weights=weights):
                assert not again.shirg_x.budget_head.out.weight.any()
                assert again.shirg_x.coordinates.coord_out.weight.any()
            assert "budget head" not in caplog.text
            with apply_shirg_x(again, other, weights=weights):
                pass
            assert "starts anew" in caplog.text


def test_a_head_keeps_what_it_learned_on_a_grid_with_the_same_shares(saved_with_weights, caplog):
    again, _ = saved_with_weights
    with apply_shirg_x(again, SMALL.replace(similarity="learned").for_grid(2 * SMALL.grid)):
        assert again.shirg_x.budget_head.out.weight.any()
    assert "starts anew" not in caplog.text


def test_the_patch_follows_the_model_s_mode(model):
    model.train()
    with apply_shirg_x(model, SMALL):
        assert model.shirg_x.training
    model.eval()
    with apply_shirg_x(model, SMALL):
        assert not model.shirg_x.training


def test_debugging_logs_stages_and_the_spread_of_terms(patchable, model, caplog):
    with caplog.at_level("DEBUG", logger="shirg"), apply_shirg_x(model, SMALL.replace(debug=True)):
        answer(patchable, model)
    for word in ("encode", "score", "merge", "select", "project", "spread", "center"):
        assert word in caplog.text


def test_full_size_parameter_counts():
    with torch.device("meta"):
        model = LlavaLladaForMaskedDiffusion(LlavaLladaConfig(mm_vision_config=FULL_SIZE_VISION))
        module = ShirgX(
            ShirgXConfig(similarity="learned"),
            vision_dim=model.get_vision_tower().hidden_size,
            word_dim=model.config.hidden_size,
        )

    def count(part: nn.Module) -> int:
        return sum(parameter.numel() for parameter in part.parameters())

    assert count(module.budget_head) == 32_899
    assert count(module.coordinates.coord_linear) == 640
    assert count(module.coordinates.coord_out) == 148_608
    assert count(module.relevance) == 671_744


class TestSavedAgain:
    """Loaded, saved and loaded, a checkpoint is what it was, whatever was done with it in between."""

    @pytest.fixture
    def again(self, saved_with_weights, patchable, tmp_path_factory):
        """Saves a model, takes the old directory away, and gives the weights of the new one by name."""
        model, directory = saved_with_weights

        def save(prepare=lambda model: None) -> dict[str, torch.Tensor]:
            prepare(model)
            target = tmp_path_factory.mktemp("again")
            model.save_pretrained(target)
            return load_file(target / "model.safetensors")

        return save, load_file(directory / "model.safetensors")

    def test_without_shirg_x(self, again):
        save, before = again
        assert any(name.startswith("shirg_x.relevance") for name in before)
        assert same(save(), before)

    def test_with_shirg_x_taken_on_and_off(self, again):
        save, before = again
        assert same(save(lambda model: apply_shirg_x(model).remove()), before)

    @pytest.mark.parametrize("changes", [{}, {"similarity": "projected"}, {"mode": "stock"}], ids=str)
    def test_with_shirg_x_applied(self, again, changes):
        """Whatever source is chosen, the relevance that was taught stays in the checkpoint."""
        save, before = again
        config = SMALL.replace(**{"similarity": "learned", **changes})
        assert same(save(lambda model: apply_shirg_x(model, config)), before)

    def test_what_starts_fresh_replaces_what_was_there(self, again):
        save, before = again
        after = save(lambda model: apply_shirg_x(model, SMALL.replace(similarity="learned"), weights=False))
        assert after.keys() == before.keys()
        assert not after["shirg_x.coordinates.coord_out.weight"].any()

    def test_shirg_x_s_own_files_keep_what_they_do_not_use(self, saved_with_weights, tmp_path_factory):
        model, _ = saved_with_weights
        directory = tmp_path_factory.mktemp("alone")
        with apply_shirg_x(model, SMALL.replace(similarity="projected")) as handle:
            handle.save(directory)
        with apply_shirg_x(model, SMALL.replace(similarity="learned"), weights=directory):
            assert (model.shirg_x.relevance.patch_map.weight == 0.25).all()

    def test_weights_that_are_no_numbers_are_refused(self, saved_with_weights):
        model, _ = saved_with_weights
        model.kept_shirg_x["coordinates.coord_out.bias"][3] = torch.nan
        with pytest.raises(ValueError, match=r"coordinates\.coord_out\.bias holds numbers that are no numbers"):
            apply_shirg_x(model)
        assert not hasattr(model, "shirg_x")

    def test_embeddings_are_not_resized_under_a_patch(self, model):
        with apply_shirg_x(model, SMALL), pytest.raises(RuntimeError, match="remove"):
            model.resize_token_embeddings(600)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
