"""What trains: exact counts at full size, and that exactly this moves."""

import copy
import sys

import pytest
import torch

from lavida_shirg_integration import ShirgX, apply_shirg_x
from llava.model import LlavaLladaConfig, LlavaLladaForMaskedDiffusion
from llava.model.builder import load_pretrained_model
from llava.speed.workload import FULL_SIZE_VISION
from llava.train.losses.objective import draw_masks, masked_diffusion_loss
from llava.tuning.parameters import (
    GROUPS,
    TrainableConfig,
    count_trainable,
    lora_layers,
    parameter_groups,
    prepare_trainable,
)
from shirg.config import ShirgXConfig
from tests.integration_helpers import IMAGES, SMALL, ask, views_and_sizes

PROJECTOR, COORD_LINEAR, COORD_OUT, BUDGET_HEAD, RELEVANCE = 430_080, 1_056, 148_608, 32_899, 671_744


def full_size(**shirg: object) -> LlavaLladaForMaskedDiffusion:
    config = ShirgXConfig(**{"similarity": "projected", **shirg})
    with torch.device("meta"):
        model = LlavaLladaForMaskedDiffusion(LlavaLladaConfig(mm_vision_config=FULL_SIZE_VISION))
        model.add_module("shirg_x", ShirgX(config, vision_dim=1152, word_dim=4096))
    model.config.shirg_x = config.to_dict()
    return model


@pytest.fixture
def tiny(tiny_checkpoint):
    return load_pretrained_model(tiny_checkpoint, device_map="cpu")


def awaken(model) -> None:
    """Give LoRA and the coordinates an effect, so that gradients reach what lies before their zeros."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or name.startswith("shirg_x.coordinates.coord_out") or "budget_head.out" in name:
                parameter.normal_(std=0.2)


def learn(loaded, model, config: TrainableConfig) -> tuple[set[str], set[str]]:
    """Names of the tensors that got a gradient, and that moved, in one step of SGD on every loss there is."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    groups = [{**group, "lr": 1.0} for group in parameter_groups(model, config)]
    views, sizes = views_and_sizes(loaded, model, IMAGES[:1])
    ids = ask(loaded, "What is the total?", "12 EUR")
    labels = ids.clone()
    labels[:-6] = -100
    batch = model.prepare_inputs(ids[None], images=views, image_sizes=sizes, labels=labels[None])
    loss = masked_diffusion_loss(model, batch, draw_masks(batch.labels, torch.Generator().manual_seed(3))).loss
    if "shirg_x" in model._modules:
        entropy = torch.rand(2, 12, 12)
        loss = loss + model.shirg_x.budget_head(entropy).float().logsumexp(1).sum()
        if hasattr(model.shirg_x, "relevance"):
            words = torch.randn(1, 5, model.config.d_model)
            patches = torch.randn(1, 7, model.get_vision_tower().hidden_size)
            loss = loss + model.shirg_x.relevance(patches, words, torch.ones(1, 5, dtype=torch.bool)).sum()
    loss.backward()
    torch.optim.SGD(groups).step()
    reached = {name for name, value in model.named_parameters() if value.grad is not None}
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    return reached, moved


def trainable_names(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


class TestFullSize:
    def test_the_default_trains_what_the_design_counts(self):
        model = full_size()
        report = prepare_trainable(model, TrainableConfig())
        assert report.groups == {
            "projector": PROJECTOR,
            "coordinates": COORD_LINEAR + COORD_OUT,
            "budget_head": BUDGET_HEAD,
        }
        assert report.lora["shirg_x.coordinates.coord_linear"] == COORD_LINEAR
        assert sum(count for name, count in report.lora.items() if "mm_projector" in name) == PROJECTOR
        assert report.trainable == sum(count_trainable(model).values()) == 612_643
        assert report.total == 8_434_837_024 + 640 + COORD_OUT + BUDGET_HEAD + PROJECTOR + COORD_LINEAR
        assert report.share == pytest.approx(612_643 / 8.4354e9, rel=1e-4)

    def test_a_learned_similarity_adds_its_maps(self):
        report = prepare_trainable(full_size(similarity="learned"), TrainableConfig())
        assert report.groups["relevance"] == RELEVANCE
        assert report.trainable == 612_643 + RELEVANCE

    def test_the_expanded_scope_adds_the_attention_of_every_block(self):
        report = prepare_trainable(full_size(similarity="learned"), TrainableConfig(scope="shirg_x_expanded"))
        assert report.groups["language"] == 67_108_864
        assert report.trainable == 68_393_251
        assert len([name for name in report.lora if ".blocks." in name]) == 4 * 32

    def test_full_coordinates_replace_the_low_rank_by_the_base(self):
        report = prepare_trainable(full_size(), TrainableConfig(coord="full"))
        assert report.groups["coordinates"] == 640 + COORD_OUT
        assert "shirg_x.coordinates.coord_linear" not in report.lora

    def test_rank_16_halves_projector_and_language(self):
        config = TrainableConfig(scope="shirg_x_expanded", rank=16)
        report = prepare_trainable(full_size(), config)
        assert report.groups["projector"] == PROJECTOR // 2
        assert report.groups["language"] == 67_108_864 // 2

    def test_the_first_stage_is_the_projector(self):
        model = full_size()
        assert prepare_trainable(model, TrainableConfig(scope="projector")).groups == {
            "projector": 1152 * 4096 + 4096 + 4096**2 + 4096
        }
        assert all(name.startswith("model.mm_projector.") for name in trainable_names(model))


@pytest.mark.parametrize(
    ("trainable", "shirg"),
    [
        ({}, {}),
        ({"coord": "full", "projector_layers": ["mm_projector.fc1"]}, {"similarity": "learned"}),
        ({"scope": "shirg_x_expanded", "dropout": 0.1}, {}),
        ({}, {"coordinates": False}),
        ({"groups": ["budget_head"]}, {}),
        ({"groups": ["projector", "relevance"]}, {"similarity": "learned"}),
        ({"groups": ["coordinates", "language"], "scope": "shirg_x_expanded"}, {}),
        ({"groups": ["tower"], "scope": "everything"}, {}),
        ({"scope": "projector"}, {}),
        ({"scope": "projector"}, None),
    ],
    ids=str,
)
def test_one_step_moves_exactly_what_trains(tiny, trainable, shirg):
    model, config = tiny[1], TrainableConfig(**trainable)
    if shirg is not None:
        apply_shirg_x(model, SMALL.replace(**shirg), weights=False)
    prepare_trainable(model, config)
    awaken(model)
    names = trainable_names(model)
    reached, moved = learn(tiny, model.train(), config)
    assert reached == names
    # A bias of keys changes no softmax, so its gradient is rounding.
    assert {name for name in names - moved if not name.endswith("k_proj.bias")} == set()
    assert names
    assert not config.groups or set(count_trainable(model)) == set(config.groups)


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        ({"groups": ["relevance"]}, "'relevance', of which scope 'shirg_x' trains nothing"),
        ({"groups": ["budget_head", "language"]}, "'language', of which scope 'shirg_x' trains nothing"),
        ({"groups": ["budget_head"], "scope": "projector"}, "'budget_head', of which scope 'projector'"),
    ],
    ids=str,
)
def test_a_group_of_which_nothing_trains_is_refused_before_anything_changes(tiny, trainable, words):
    model = tiny[1]
    apply_shirg_x(model, SMALL, weights=False)
    before = trainable_names(model)
    with pytest.raises(ValueError, match=words):
        prepare_trainable(model, TrainableConfig(**trainable))
    assert trainable_names(model) == before
    assert not lora_layers(model)


@pytest.mark.parametrize(("groups", "words"), [("budget_head", "a list"), (["head"], "names 'head'"), (3, "a list")])
def test_groups_must_be_a_list_of_known_names(groups, words):
    with pytest.raises(ValueError, match=words):
        TrainableConfig(groups=groups)


@pytest.mark.parametrize("patched", [False, True])
def test_everything_is_what_the_loss_reaches(tiny, patched):
    model, config = tiny[1], TrainableConfig(scope="everything")
    if patched:
        apply_shirg_x(model, SMALL, weights=False)
    prepare_trainable(model, config)
    awaken(model)
    names = trainable_names(model)
    reached, moved = learn(tiny, model.train(), config)
    assert reached == names
    # A bias of keys changes no softmax, so its gradient is rounding.
    assert {name for name in names - moved if not name.endswith("k_proj.bias")} == set()
    frozen = {name for name, _ in model.named_parameters()} - names
    assert all("post_layernorm" in name or "image_newline" in name for name in frozen)
    assert any("image_newline" in name for name in frozen) == patched
    assert set(count_trainable(model)) == {
        *("projector", "tower", "language"),
        *(("coordinates", "budget_head") if patched else ("newline",)),
    }


def test_scoring_layers_never_train(tiny_checkpoint):
    model = load_pretrained_model(tiny_checkpoint, device_map="cpu", vision_kwargs={"keep_all_layers": True})[1]
    prepare_trainable(model, TrainableConfig(scope="everything"))
    assert not any(".head." in name or ".layers.2." in name for name in trainable_names(model))
    assert any(".layers.1." in name for name in trainable_names(model))


def test_fresh_lora_changes_no_output(tiny):
    model = tiny[1]
    apply_shirg_x(model, SMALL, weights=False)
    views, sizes = views_and_sizes(tiny, model, IMAGES[:1])
    ids = ask(tiny, "What is the total?")[None]
    with torch.no_grad():
        before = model(ids, images=views, image_sizes=sizes).logits
        prepare_trainable(model, TrainableConfig(scope="shirg_x_expanded"))
        assert torch.equal(model(ids, images=views, image_sizes=sizes).logits, before)
        awaken(model)
        assert not torch.equal(model(ids, images=views, image_sizes=sizes).logits, before)


def test_scale_dropout_and_rank_of_every_layer(tiny):
    apply_shirg_x(tiny[1], SMALL, weights=False)
    config = TrainableConfig(scope="shirg_x_expanded", rank=3, coord_rank=5, alpha_per_rank=1.5, dropout=0.25)
    prepare_trainable(tiny[1], config)
    layers = lora_layers(tiny[1])
    assert {layer.scaling["default"] for layer in layers.values()} == {1.5}
    assert {layer.lora_dropout["default"].p for layer in layers.values()} == {0.25}
    ranks = {name: layer.r["default"] for name, layer in layers.items()}
    assert ranks["model.mm_projector.0"] == ranks["model.mm_projector.2"] == 3
    assert ranks["shirg_x.coordinates.coord_linear"] == 5
    assert ranks["model.transformer.blocks.0.attn_out"] == 6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", None])
def test_what_trains_has_its_own_precision_and_runs(tiny_checkpoint, dtype):
    loaded = load_pretrained_model(tiny_checkpoint, device_map="cpu", torch_dtype="bfloat16")
    model, config = loaded[1], TrainableConfig(trainable_dtype=dtype)
    apply_shirg_x(model, SMALL, weights=False)
    prepare_trainable(model, config)
    wanted = torch.bfloat16 if dtype is None else getattr(torch, dtype)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in trained} == {wanted}
    assert model.model.transformer["wte"].weight.dtype == torch.bfloat16
    assert model.model.mm_projector[0].base_layer.weight.dtype == torch.bfloat16
    awaken(model)
    names = trainable_names(model)
    reached, _ = learn(loaded, model.train(), config)
    assert reached == names


class TestGroups:
    def test_every_trainable_parameter_is_in_one_group_with_its_rate(self, tiny):
        model = tiny[1]
        apply_shirg_x(model, SMALL.replace(similarity="learned"), weights=False)
        config = TrainableConfig(
            scope="shirg_x_expanded", weight_decay=0.1, learning_rates={"language": 7e-5, "other": 3e-4}
        )
        prepare_trainable(model, config)
        model.add_module("probe", torch.nn.Linear(3, 5))
        groups = parameter_groups(model, config)
        listed = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)
        rates = {group["name"].removesuffix("_no_decay"): group["lr"] for group in groups}
        assert rates == {
            "projector": 2e-4,
            "language": 7e-5,
            "coordinates": 1e-3,
            "budget_head": 1e-3,
            "relevance": 1e-3,
            "other": 3e-4,
        }
        assert count_trainable(model)["other"] == 20
        assert count_trainable(torch.nn.ModuleDict({"lavida": model})) == count_trainable(model)
        assert list(count_trainable(model)) == [group for group in GROUPS if group in rates]

    def test_only_matrices_decay(self, tiny):
        model, config = tiny[1], TrainableConfig(scope="everything", weight_decay=0.1)
        prepare_trainable(model, config)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for group in parameter_groups(model, config):
            assert group["weight_decay"] == (0.0 if group["name"].endswith("_no_decay") else 0.1)
            for parameter in group["params"]:
                name = names[id(parameter)]
                is_small = parameter.ndim == 1 or "position_embedding" in name
                assert is_small == (group["weight_decay"] == 0.0), name
        assert config.learning_rate("tower") == 2e-6

    def test_hidden_matrices_are_muons_where_it_is_asked_for(self, tiny):
        model = tiny[1]
        config = TrainableConfig(scope="everything", weight_decay=0.1, muon={"language": 0.02})
        prepare_trainable(model, config)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        groups = {group["name"]: group for group in parameter_groups(model, config)}
        listed = [id(parameter) for group in groups.values() for parameter in group["params"]]
        assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)
        moved = groups["language_muon"]
        assert (moved["lr"], moved["weight_decay"], moved["muon"]) == (0.02, 0.1, True)
        assert {names[id(parameter)].split(".")[2] for parameter in moved["params"]} == {"blocks"}
        assert all(parameter.ndim == 2 for parameter in moved["params"])
        others = {names[id(parameter)] for parameter in groups["language"]["params"]}
        assert others == {"model.transformer.wte.weight", "model.transformer.ff_out.weight"}
        assert not any("muon" in group for name, group in groups.items() if name != "language_muon")

    def test_partitioned_parameters_are_counted_whole(self, tiny):
        model = tiny[1]
        prepare_trainable(model, TrainableConfig(scope="projector"))
        weight = model.model.mm_projector[2].weight
        weight.ds_numel, weight.ds_shape, whole = weight.numel(), weight.shape, count_trainable(model)
        weight.data = torch.empty(0)
        assert count_trainable(model) == whole
        groups = {group["name"]: group["params"] for group in parameter_groups(model, TrainableConfig())}
        assert any(parameter is weight for parameter in groups["projector"])


class TestRefusals:
    def test_shirg_x_must_be_applied(self, tiny):
        before = copy.deepcopy(tiny[1].state_dict())
        with pytest.raises(ValueError, match="apply_shirg_x first"):
            prepare_trainable(tiny[1], TrainableConfig())
        apply_shirg_x(tiny[1], SMALL.replace(mode="stock"), weights=False).remove()
        with (
            apply_shirg_x(tiny[1], SMALL.replace(mode="stock"), weights=False),
            pytest.raises(ValueError, match="not applied"),
        ):
            prepare_trainable(tiny[1], TrainableConfig())
        assert tiny[1].state_dict().keys() == before.keys()
        assert all(parameter.requires_grad for parameter in tiny[1].parameters())

    def test_a_layer_that_is_not_there_is_named_beside_those_that_are(self, tiny):
        apply_shirg_x(tiny[1], SMALL, weights=False)
        with pytest.raises(ValueError, match=r"mm_projector\.1.*mm_projector\.0, mm_projector\.2"):
            prepare_trainable(tiny[1], TrainableConfig(projector_layers=("mm_projector.1",)))
        assert all(parameter.requires_grad for parameter in tiny[1].parameters())

    def test_lora_is_not_put_on_lora(self, tiny):
        apply_shirg_x(tiny[1], SMALL, weights=False)
        prepare_trainable(tiny[1], TrainableConfig())
        with pytest.raises(RuntimeError, match="merge_adapter"):
            prepare_trainable(tiny[1], TrainableConfig(scope="projector"))

    def test_without_peft_the_extra_is_named(self, tiny, monkeypatch):
        apply_shirg_x(tiny[1], SMALL, weights=False)
        monkeypatch.setitem(sys.modules, "peft", None)
        with pytest.raises(ModuleNotFoundError, match=r"lavida-shirg\[train\]"):
            prepare_trainable(tiny[1], TrainableConfig())
        prepare_trainable(tiny[1], TrainableConfig(scope="projector"))
