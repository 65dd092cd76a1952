"""Loading and saving checkpoints in the released format."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from llava.model import LlavaLladaConfig, LlavaLladaForMaskedDiffusion
from llava.model.builder import load_pretrained_model
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower
from llava.speed.workload import FULL_SIZE_VISION
from tests.conftest import PARITY
from tests.model.test_parity import block_image

INDEX = "model.safetensors.index.json"


@pytest.fixture
def copied(tiny_checkpoint, tmp_path) -> Path:
    """A copy of the checkpoint and of the SigLIP repository beside it, to be changed."""
    shutil.copytree(tiny_checkpoint.parent, tmp_path / "copy")
    return tmp_path / "copy" / tiny_checkpoint.name


def all_tensors(directory: Path) -> dict[str, torch.Tensor]:
    return {key: value for file in directory.glob("*.safetensors") for key, value in load_file(file).items()}


def write_single(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    for file in [*directory.glob("*.safetensors"), directory / INDEX]:
        file.unlink()
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def edit_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_returns_what_lavida_s_callers_unpack(tiny_checkpoint):
    tokenizer, model, image_processor, context = load_pretrained_model(
        tiny_checkpoint, None, "llava_llada", device_map="cpu"
    )
    assert tokenizer.decode(tokenizer("total: 12").input_ids) == "total: 12"
    assert not model.training
    assert image_processor.crop_size == {"height": 384, "width": 384}
    assert context == 4096


@pytest.mark.parametrize("name", ["float32", torch.bfloat16])
def test_dtype_and_device_are_honored(tiny_checkpoint, name):
    model = load_pretrained_model(tiny_checkpoint, device_map={"": "cpu"}, torch_dtype=name)[1]
    wanted = getattr(torch, name) if isinstance(name, str) else name
    assert {parameter.dtype for parameter in model.parameters()} == {wanted}
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    ("held", "instructions", "wanted"),
    [
        (torch.bfloat16, {"avx2": True, "avx512_bf16": False}, torch.float32),
        (torch.bfloat16, {"avx512_bf16": True}, torch.bfloat16),
        (torch.bfloat16, {"amx_bf16": True}, torch.bfloat16),
        (torch.bfloat16, {"neon": True, "bf16": True}, torch.bfloat16),
        (torch.float16, {"avx512_bf16": True}, torch.float32),
        (torch.float16, {"fp16_arith": True}, torch.float16),
        (torch.float32, {}, torch.float32),
    ],
    ids=str,
)
def test_a_cpu_computes_in_16_bits_only_if_it_can(copied, monkeypatch, held, instructions, wanted):
    tensors = {key: value.to(held) for key, value in all_tensors(copied).items()}
    write_single(copied, tensors)
    edit_config(copied, torch_dtype=str(held).removeprefix("torch."))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    model = load_pretrained_model(copied, device_map="cpu", torch_dtype="auto")[1]
    assert {parameter.dtype for parameter in model.parameters()} == {wanted}
    head = tensors["model.transformer.ff_out.weight"]
    assert torch.equal(model.model.head_weight, head.to(wanted)), "the bits on disk are taken as they are"
    asked = load_pretrained_model(copied, device_map="cpu", torch_dtype="bfloat16")[1]
    assert asked.dtype == torch.bfloat16


def test_a_single_file_loads_as_the_shards_do(tiny_checkpoint, copied):
    write_single(copied, all_tensors(copied))
    shards, single = (load_pretrained_model(path, device_map="cpu")[1] for path in (tiny_checkpoint, copied))
    assert same_weights(shards, single)


def test_saved_and_loaded_again_bit_for_bit_under_the_released_names(tiny_checkpoint, copied, tmp_path):
    tokenizer, model, _, _ = load_pretrained_model(copied, device_map="cpu")
    out = tmp_path / "deep" / "saved"
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    assert all_tensors(out).keys() == all_tensors(tiny_checkpoint).keys()
    again = load_pretrained_model(out, device_map="cpu", vision_kwargs={"keep_all_layers": True})[1]
    again_stock = load_pretrained_model(out, device_map="cpu")[1]
    assert same_weights(model, again_stock)
    assert again.get_vision_tower().keep_all_layers, "the relative vision path still leads to the SigLIP repository"
    ids = torch.tensor([[3, 5, 7]])
    assert torch.equal(model(ids).logits, again_stock(ids).logits)


def test_auto_classes_know_the_types(tiny_checkpoint):
    config = AutoConfig.from_pretrained(tiny_checkpoint)
    assert isinstance(config, LlavaLladaConfig)
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    assert isinstance(model, LlavaLladaForMaskedDiffusion)
    assert same_weights(model, load_pretrained_model(tiny_checkpoint, device_map="cpu")[1])


def test_the_full_size_model_has_exactly_the_released_names_and_shapes():
    released = json.loads((PARITY / "lavida_8b_state_dict.json").read_text())
    with torch.device("meta"):
        model = LlavaLladaForMaskedDiffusion(LlavaLladaConfig(mm_vision_config=FULL_SIZE_VISION))
    found = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    assert len(found) == 717
    assert found == released
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 8_434_837_024


def test_the_embedding_is_never_shrunk_to_the_tokenizer(copied):
    path = copied / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {word: index for word, index in vocabulary.items() if "unused" not in word}
    path.write_text(json.dumps(tokenizer))
    loaded, model, _, _ = load_pretrained_model(copied, device_map="cpu")
    assert len(loaded) == 256 + 6
    assert model.get_input_embeddings().num_embeddings == 512


def test_scoring_layers_come_from_the_siglip_repository_and_change_no_feature(tiny_checkpoint):
    stock = load_pretrained_model(tiny_checkpoint, device_map="cpu")[1]
    kept = load_pretrained_model(tiny_checkpoint, device_map="cpu", vision_kwargs={"keep_all_layers": True})[1]
    siglip = load_file(tiny_checkpoint.parent / "siglip-tiny-patch14-384" / "model.safetensors")
    prefix = "model.vision_tower.vision_tower."
    extra = kept.state_dict().keys() - stock.state_dict().keys()
    assert any(".encoder.layers.2." in key for key in extra)
    assert any(".head." in key for key in extra)
    assert all(torch.equal(kept.state_dict()[key], siglip[key.removeprefix(prefix)]) for key in extra)
    pixels = torch.randn(2, 3, 384, 384)
    assert torch.equal(stock.get_vision_tower()(pixels), kept.get_vision_tower()(pixels))


def test_a_missing_scoring_layer_is_named_not_made_up(copied):
    file = copied.parent / "siglip-tiny-patch14-384" / "model.safetensors"
    save_file({key: value for key, value in load_file(file).items() if ".head." not in key}, file)
    with pytest.raises(FileNotFoundError, match=r"vision_model\.head\.attention"):
        load_pretrained_model(copied, device_map="cpu", vision_kwargs={"keep_all_layers": True})


def test_missing_unexpected_and_misshapen_tensors_are_listed(copied):
    tensors = all_tensors(copied)
    del tensors["model.transformer.ln_f.weight"]
    tensors["model.lm_head.weight"] = torch.zeros(3)
    tensors["model.image_newline"] = torch.zeros(63)
    write_single(copied, tensors)
    with pytest.raises(ValueError, match=r"ln_f\.weight") as error:
        load_pretrained_model(copied, device_map="cpu")
    assert "model.lm_head.weight" in str(error.value)
    assert "model.image_newline" in str(error.value)


def test_special_ids_come_from_the_config_then_from_the_tokenizer(copied):
    model = load_pretrained_model(copied, device_map="cpu")[1]
    assert (model.config.mask_token_id, model.config.eos_token_id) == (500, 510)
    assert (model.config.start_header_id, model.config.end_header_id, model.config.eot_token_id) == (508, 507, 511)
    edit_config(copied, eot_token_id=77)
    assert load_pretrained_model(copied, device_map="cpu")[1].config.eot_token_id == 77


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"load_4bit": True}, "load_4bit"),
        ({"model_base": "base"}, "model_base"),
        ({"torch_dtype": "float33"}, "float33"),
        ({"torch_dtype": "int64"}, "int64"),
        ({"device_map": "gpu"}, "gpu"),
        ({"device_map": {"a": "cpu", "b": "meta"}}, "one device"),
        ({"vision_kwargs": {"mm_vision_towers": "x"}}, "mm_vision_towers"),
        ({"multimodel": True}, "multimodel"),
    ],
)
def test_options_that_do_not_exist_are_refused(tiny_checkpoint, arguments, named):
    with pytest.raises(ValueError, match=named):
        load_pretrained_model(tiny_checkpoint, **{"device_map": "cpu", **arguments})


def test_a_name_that_is_neither_directory_nor_reachable_is_named(monkeypatch):
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match=r"owner/nothing.*no network"):
        load_pretrained_model("owner/nothing")
    with pytest.raises(FileNotFoundError, match=r"\./nothing"):
        load_pretrained_model("./nothing")


def test_a_hub_id_fetches_safetensors_and_text_of_the_revision_only(tiny_checkpoint, monkeypatch):
    asked = {}

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.update(name=name, revision=revision, patterns=allow_patterns)
        return str(tiny_checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    model = load_pretrained_model("owner/name", revision="v1", device_map="cpu")[1]
    assert asked["name"] == "owner/name"
    assert asked["revision"] == "v1"
    assert set(asked["patterns"]) == {"*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"}
    assert isinstance(model.get_vision_tower(), SigLipVisionTower)


def test_only_the_config_of_a_tower_on_the_hub_is_fetched_when_the_checkpoint_holds_its_weights(copied, monkeypatch):
    siglip = copied.parent / "siglip-tiny-patch14-384"
    asked = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(siglip)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    edit_config(copied, mm_vision_tower="google/siglip")
    load_pretrained_model(copied, device_map="cpu")
    assert asked == [("google/siglip", ["config.json"])]


def test_the_vision_width_must_fit_the_projector(copied):
    edit_config(copied, mm_hidden_size=47)
    with pytest.raises(ValueError, match="mm_hidden_size=47"):
        load_pretrained_model(copied, device_map="cpu")


def test_importing_and_loading_needs_neither_deepspeed_nor_network(tiny_checkpoint):
    import subprocess
    import sys

    script = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from llava.model.builder import load_pretrained_model\n"
        f"load_pretrained_model({str(tiny_checkpoint)!r}, device_map='cpu')\n"
        "assert not {'deepspeed', 'peft', 'datasets', 'pickle5'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("mm_vision_select_layer", "x"),
        ("mm_patch_merge_type", "spatial_unpadded"),
        ("mm_vision_tower", 5),
        ("mm_projector_type", None),
        ("mm_hidden_size", "48"),
        ("mm_pooler_ratio", None),
        ("mm_spatial_pool_mode", "medain"),
        ("mm_keep_all_layers", "false"),
        ("mm_vision_config", {"hidden_size": "a"}),
        ("image_grid_pinpoints", "[(384,)]"),
        ("torch_dtype", "floatzz"),
        ("rope_theta", "5e5"),
        ("rms_norm_eps", None),
        ("mask_token_id", 99999),
        ("mask_token_id", None),
        ("eos_token_id", [510, 999]),
    ],
)
def test_a_wrong_setting_of_the_config_is_named(copied, setting, value):
    edit_config(copied, **{setting: value})
    with pytest.raises(ValueError, match=setting if setting != "torch_dtype" else "floatzz"):
        load_pretrained_model(copied, device_map="cpu")


def test_several_ends_of_text_all_end_an_answer(copied):
    edit_config(copied, eos_token_id=[509, 510])
    model = load_pretrained_model(copied, device_map="cpu")[1]
    assert model.generate(torch.tensor([3, 5]), max_new_tokens=4, stop_at_end_of_turn=True).shape == (1, 4)


def test_lavida_s_callers_import_and_call_as_they_do(tiny_checkpoint):
    from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
    from llava.conversation import SeparatorStyle, conv_templates
    from llava.mm_utils import KeywordsStoppingCriteria, get_model_name_from_path, process_images, tokenizer_image_token

    vision_kwargs = {
        "mm_vision_tower": "../siglip-tiny-patch14-384",
        "mm_resampler_type": None,
        "mm_projector_type": "mlp2x_gelu",
        "mm_hidden_size": 48,
        "use_mm_proj": True,
    }
    tokenizer, model, image_processor, _ = load_pretrained_model(
        str(tiny_checkpoint),
        None,
        get_model_name_from_path(str(tiny_checkpoint)),
        device_map="cpu",
        vision_kwargs=vision_kwargs,
        torch_dtype="bfloat16",
        multimodal=True,
        overwrite_config={"mm_spatial_pool_stride": 2, "mm_spatial_pool_mode": "bilinear"},
        attn_implementation="sdpa",
    )
    model.eval()
    model.tie_weights()
    model.model.set_activation_checkpointing(None)
    conversation = conv_templates["llada"].copy()
    assert conversation.sep_style is SeparatorStyle.LLADA
    conversation.append_message(conversation.roles[0], f"{DEFAULT_IMAGE_TOKEN}\nTotal?")
    conversation.append_message(conversation.roles[1], None)
    prompt = conversation.get_prompt()
    ids = tokenizer_image_token(prompt, tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt").unsqueeze(0)
    image = block_image(90, 70, 1)
    views = [view.to(torch.bfloat16) for view in process_images([image], image_processor, model.config)]
    answer, history = model.generate(
        ids,
        views,
        [image.size],
        ["image"],
        do_sample=False,
        temperature=0.0,
        max_new_tokens=8,
        block_length=8,
        step_ratio=0.5,
        tokenizer=tokenizer,
        pad_token_id=tokenizer.pad_token_id,
        prefix_lm=True,
        verbose=True,
        schedule="shift",
    )
    assert answer.shape == (1, 8)
    assert len(history) == 4
    stopping = KeywordsStoppingCriteria(["12"], tokenizer, ids[:, :0])
    assert stopping(torch.tensor([tokenizer("in 12").input_ids]))
    assert not stopping(torch.tensor([tokenizer("in 13").input_ids]))
    assert {DEFAULT_IM_START_TOKEN, DEFAULT_IM_END_TOKEN} == {"<im_start>", "<im_end>"}
