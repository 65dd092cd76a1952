"""What transformers asks of every model and processor, on a small model.

transformers' own ``ModelTesterMixin``, ``GenerationTesterMixin`` and ``ProcessorTesterMixin`` live in its repository
and not in its wheel, so that the laws of theirs that have a meaning here are written anew, under their names. Left out,
with the reason:

* ``test_hidden_states_output``, ``test_attention_outputs``, ``test_retain_grad_hidden_states_attentions``: the model
  gives logits only; attention is fused, and nothing of it is kept.
* ``test_eager_matches_sdpa_inference``, ``test_flash_attn_2_*``, ``test_flex_attention_*``: there is one attention.
* ``test_head_pruning*``, ``test_feed_forward_chunking``, ``test_tie_model_weights*`` on released models: LLaDA has
  neither pruned heads, nor chunks, nor tied weights.
* ``test_beam_*``, ``test_assisted_*``, ``test_prompt_lookup_*``, ``test_contrastive_*``, ``test_static_cache*``,
  ``test_past_key_values_format``, ``test_generate_continue_from_past_key_values``: masked diffusion has no beams, no
  cache that outlives an answer, and no drafts by another model.
* ``test_generate_from_inputs_embeds_*``: token selection reads the question in the ids.
* ``test_torchscript*``, ``test_torch_fx*``, ``test_torch_export``: where images go is decided on the host.
* ``test_model_parallelism``, ``test_disk_offload_*``, ``test_cpu_offload``, ``test_multi_gpu_data_parallel_forward``:
  need several devices.
* ``test_resize_embeddings_untied``: ``tests/model/test_builder.py`` resizes embedding and head of the same class.
* ``ProcessorTesterMixin``'s video, audio and ``overlapping_text_*_kwargs`` tests: there is no video or audio, and an
  option that belongs nowhere is refused and not handed around.
"""

import copy
import inspect
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from llava.hf import LavidaGenerationConfig, LlavaLladaForConditionalGeneration
from tests.hf_helpers import FEW, QUESTION, inputs, user
from tests.integration_helpers import IMAGES


@pytest.fixture(params=["stock", "chosen"])
def pair(request: pytest.FixtureRequest):
    """(processor, model), without SHIRG-X and with it."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def trainable(tiny_checkpoint: Path):
    """A model of one test's own."""
    return AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)


def scores(model, asked) -> torch.Tensor:
    with torch.no_grad():
        return model(**asked).logits


def noised(model, asked, answer: int = 5):
    """The prompt with a masked answer behind it, and labels of that answer alone."""
    ids, config = asked["input_ids"], model.config
    masked = torch.full((len(ids), answer), config.mask_token_id)
    labels = torch.cat([torch.full_like(ids, -100), torch.arange(40, 40 + answer).expand(len(ids), -1)], dim=1)
    return {
        **asked,
        "input_ids": torch.cat([ids, masked], dim=1),
        "attention_mask": torch.cat([asked["attention_mask"], torch.ones_like(masked)], dim=1),
        "labels": labels,
    }


class TestModel:
    def test_forward_signature(self) -> None:
        names = list(inspect.signature(LlavaLladaForConditionalGeneration.forward).parameters)
        assert names[:3] == ["self", "input_ids", "attention_mask"]
        assert {"pixel_values", "image_sizes", "labels", "inputs_embeds"} <= set(names)
        assert LlavaLladaForConditionalGeneration.main_input_name == "input_ids"
        assert LlavaLladaForConditionalGeneration.can_generate()

    def test_determinism(self, pair) -> None:
        processor, model = pair
        asked = inputs(processor)
        assert torch.equal(scores(model, asked), scores(model, asked))

    def test_save_load(self, pair, tmp_path: Path) -> None:
        """Also ``test_save_load_keys_to_ignore_on_save`` and ``test_from_pretrained_no_checkpoint``."""
        processor, model = pair
        asked = inputs(processor)
        model.save_pretrained(tmp_path)
        processor.tokenizer.save_pretrained(tmp_path)
        again = AutoModelForImageTextToText.from_pretrained(tmp_path)
        assert again.state_dict().keys() == model.state_dict().keys()
        assert torch.equal(scores(again, asked), scores(model, asked))
        assert not [name for name in tmp_path.iterdir() if name.suffix in (".bin", ".pt", ".py")]

    def test_a_model_without_a_tokenizer_beside_it_loads_where_no_question_is_read(self, stock, tmp_path) -> None:
        processor, model = stock
        model.save_pretrained(tmp_path)
        again = AutoModelForImageTextToText.from_pretrained(tmp_path)
        asked = inputs(processor)
        assert torch.equal(scores(again, asked), scores(model, asked))

    def test_load_save_sharded(self, stock, tmp_path: Path) -> None:
        """``test_checkpoint_sharding``."""
        processor, model = stock
        model.save_pretrained(tmp_path, max_shard_size="200KB")
        assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
        again = AutoModelForImageTextToText.from_pretrained(tmp_path)
        assert torch.equal(scores(again, inputs(processor)), scores(model, inputs(processor)))

    def test_initialization(self, tiny_checkpoint: Path) -> None:
        """Also ``test_can_init_all_missing_weights``: nothing keeps the memory it was made in."""
        config = AutoConfig.from_pretrained(tiny_checkpoint)
        torch.manual_seed(1)
        model = AutoModelForImageTextToText.from_config(config)
        for name, parameter in model.named_parameters():
            assert parameter.isfinite().all(), name
            assert parameter.abs().max() < 5, name
        assert model.generation_config == LavidaGenerationConfig()

    def test_model_copies_are_apart(self, pair) -> None:
        """``test_deepcopy``-like: what is done to a copy leaves the model as it is."""
        processor, model = pair
        asked = inputs(processor)
        before = scores(model, asked)
        twin = copy.deepcopy(model)
        assert torch.equal(scores(twin, asked), before)
        with torch.no_grad():
            twin.model.mm_projector[0].weight.add_(1.0)
        assert not torch.equal(scores(twin, asked), before)
        assert torch.equal(scores(model, asked), before)

    def test_inputs_embeds_matches_input_ids(self, stock) -> None:
        processor, model = stock
        ids = inputs(processor, [user("No picture")])["input_ids"]
        with torch.no_grad():
            embeds = model.get_input_embeddings()(ids)
            assert torch.equal(model(inputs_embeds=embeds).logits, model(input_ids=ids).logits)
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            model(input_ids=ids, inputs_embeds=embeds)

    def test_batching_equivalence(self, pair) -> None:
        """Also ``test_left_padding_compatibility``."""
        processor, model = pair
        conversations = [[user("What is it, and why is it so?", IMAGES[0])], [user("Who?", IMAGES[1])]]
        together = scores(model, inputs(processor, *conversations))
        for row, turns in enumerate(conversations):
            alone = scores(model, inputs(processor, turns))[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-4, rtol=1e-4)

    def test_model_outputs_equivalence(self, stock) -> None:
        processor, model = stock
        asked = noised(model, inputs(processor))
        loss, logits = model(**asked, return_dict=False)
        output = model(**asked)
        assert torch.equal(loss, output.loss)
        assert torch.equal(logits, output.logits)

    def test_training(self, trainable, stock) -> None:
        """The loss is the mean over the labeled positions alone, in their own places, and reaches what it should."""
        asked = noised(trainable, inputs(stock[0]))
        trainable.train()
        output = trainable(**asked)
        answer = output.logits[:, -5:].float().log_softmax(-1)
        slow = -sum(answer[0, place, 40 + place] for place in range(5)) / 5
        torch.testing.assert_close(output.loss, slow)
        output.loss.backward()
        reached = {name for name, parameter in trainable.named_parameters() if parameter.grad is not None}
        assert {"model.mm_projector.0.weight", "model.transformer.blocks.0.q_proj.weight"} <= reached
        assert trainable.get_input_embeddings().weight.grad.abs().sum() > 0

    def test_training_gradient_checkpointing(self, trainable, stock) -> None:
        asked = noised(trainable, inputs(stock[0]))
        trainable.train()
        trainable(**asked).loss.backward()
        weight = trainable.model.transformer["blocks"][0].q_proj.weight
        expected = weight.grad.clone()
        trainable.zero_grad()
        # Renamed between the versions of transformers that are supported.
        enable = getattr(trainable, "activation_checkpointing_enable", None) or trainable.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        trainable(**asked).loss.backward()
        torch.testing.assert_close(weight.grad, expected)

    def test_right_answers_are_learned(self, trainable, stock) -> None:
        """``test_training_overfit``-like: a few steps of any optimizer bring the loss down."""
        asked = noised(trainable, inputs(stock[0]))
        optimizer = torch.optim.AdamW(trainable.parameters(), lr=1e-3)
        losses = []
        for _ in range(4):
            loss = trainable(**asked).loss
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        assert losses[-1] < losses[0]

    def test_in_bfloat16(self, tiny_checkpoint: Path, stock) -> None:
        """``test_model_forward_default_config_values`` and the dtype tests: what comes in float32 is taken."""
        model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint, dtype=torch.bfloat16)
        asked = inputs(stock[0])
        assert scores(model, asked).dtype == torch.bfloat16
        assert model.generate(**asked.to(dtype=torch.bfloat16), **FEW).sequences.dtype == torch.int64


class TestGeneration:
    def test_generate_returns_a_dict_or_sequences(self, stock) -> None:
        """``test_greedy_generate`` and ``test_greedy_generate_dict_outputs``."""
        processor, model = stock
        asked = inputs(processor)
        output = model.generate(**asked, **FEW)
        alone = model.generate(**asked, **FEW, return_dict_in_generate=False)
        assert torch.equal(output.sequences, alone)
        assert alone.shape[1] == asked["input_ids"].shape[1] + FEW["max_new_tokens"]
        assert list(output) == ["sequences", "tokens_per_forward", "forwards", "confidence", "settled_in"]

    def test_generation_leaves_the_model_as_it_is(self, pair) -> None:
        """``test_generate_methods_with_logits_to_keep``-like: no cache and no setting stays behind."""
        processor, model = pair
        asked = inputs(processor)
        before, settings = scores(model, asked), copy.deepcopy(model.generation_config)
        model.generate(**asked, **FEW, steps=2)
        assert model.generation_config == settings
        assert torch.equal(scores(model, asked), before)

    def test_a_sampled_answer_follows_the_global_seed(self, stock) -> None:
        """``test_sample_generate``."""
        processor, model = stock
        found = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            found.append(model.generate(**inputs(processor), **FEW, temperature=2.0).sequences)
        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])


class TestProcessor:
    def test_processor_to_json_string_and_from_save_pretrained(self, pair, tmp_path: Path) -> None:
        processor, _ = pair
        processor.save_pretrained(tmp_path)
        again = AutoProcessor.from_pretrained(tmp_path)
        assert again.to_json_string() == processor.to_json_string()
        assert again.chat_template == processor.chat_template
        assert again.tokenizer.get_vocab() == processor.tokenizer.get_vocab()

    def test_model_input_names(self, pair) -> None:
        processor, model = pair
        asked = inputs(processor)
        assert set(asked) == set(processor.model_input_names)
        assert set(asked) <= set(inspect.signature(model.forward).parameters)

    def test_tokenizer_decode_defaults_preserved(self, stock) -> None:
        processor, _ = stock
        ids = processor.tokenizer(QUESTION).input_ids
        assert processor.decode(ids) == processor.tokenizer.decode(ids) == QUESTION
        assert processor.batch_decode([ids, ids]) == [QUESTION, QUESTION]

    def test_image_processor_defaults(self, stock) -> None:
        processor, _ = stock
        own = processor.image_processor(IMAGES[0])
        assert torch.equal(own["pixel_values"], inputs(processor)["pixel_values"])
        with pytest.raises(TypeError, match="does not take do_resize"):
            processor.image_processor(IMAGES[0], do_resize=False)
