"""``generate`` gives the answers of a session and of LaViDa's own call, alone and in batches, and says their pace."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, GenerationConfig

from llava.hf import LavidaGenerationConfig
from llava.inference.decoding import DECODINGS, find_decoding
from llava.model.language_model.diffusion.decoding import DecodingConfig
from tests.cli_helpers import copy_checkpoint
from tests.hf_helpers import FEW, QUESTION, answers, inputs, user
from tests.integration_helpers import IMAGES, ask, views_and_sizes
from tests.model.test_parity import block_image

SQUARE = block_image(500, 503, 4)


class TestAnswers:
    def test_are_those_of_a_session(self, session, chosen) -> None:
        processor, model = chosen
        expected = session.ask(IMAGES[0], QUESTION)
        asked = inputs(processor)
        output = model.generate(**asked)
        assert answers(asked, output)[0].tolist() == list(expected.tokens)
        assert output.forwards[0] == expected.forwards
        assert float(output.tokens_per_forward[0]) == pytest.approx(expected.tokens_per_forward)
        assert float(output.confidence[0]) == pytest.approx(expected.confidence)
        assert output.settled_in[0].tolist() == list(expected.settled_in)
        assert torch.equal(output.sequences[:, : asked["input_ids"].shape[1]], asked["input_ids"])

    def test_are_those_of_lavidas_own_call(self, stock, loaded) -> None:
        processor, model = stock
        settings = {"max_new_tokens": 8, "block_length": 4, "steps": 4, "prefix_lm": False, "threshold": None}
        views, sizes = views_and_sizes(loaded, loaded[1], IMAGES[:1])
        expected = loaded[1].generate(ask(loaded, QUESTION), views, sizes, stop_at_end_of_turn=False, **settings)
        asked = inputs(processor)
        found = model.generate(**asked, stop_at_end_of_turn=False, **settings, return_dict_in_generate=False)
        assert torch.equal(found[:, asked["input_ids"].shape[1] :], expected)

    def test_do_not_depend_on_the_batch_nor_on_where_it_is_padded(self, stock) -> None:
        processor, model = stock
        conversations = [
            [user("What is it, and why is it so?", IMAGES[0], SQUARE)],
            [user(QUESTION, IMAGES[2]), {"role": "assistant", "content": "12"}, user("And the tax?")],
            [user("No picture at all?")],
        ]
        both = inputs(processor, *conversations)
        together = model.generate(**both, **FEW)
        texts = [processor.apply_chat_template(turns) for turns in conversations]
        pictures = [IMAGES[0], SQUARE, IMAGES[2]]
        padded_right = processor(images=pictures, text=texts, padding_side="right")
        assert not torch.equal(padded_right["input_ids"], both["input_ids"])
        for row, turns in enumerate(conversations):
            asked = inputs(processor, turns)
            alone = model.generate(**asked, **FEW)
            assert torch.equal(answers(both, together)[row], answers(asked, alone)[0])
            assert together.forwards[row] == alone.forwards[0]
            assert together.tokens_per_forward[row] == alone.tokens_per_forward[0]
        right = model.generate(**padded_right, **FEW)
        assert torch.equal(answers(both, together), answers(padded_right, right))
        without_mask = {name: value for name, value in both.items() if name != "attention_mask"}
        assert torch.equal(answers(both, model.generate(**without_mask, **FEW)), answers(both, together))

    def test_each_image_has_its_own_question_with_shirg_x(self, chosen) -> None:
        processor, model = chosen
        conversations = [[user(QUESTION, IMAGES[0])], [user("Who?", IMAGES[1], IMAGES[2])]]
        both = inputs(processor, *conversations)
        together = answers(both, model.generate(**both, **FEW))
        for row, turns in enumerate(conversations):
            asked = inputs(processor, turns)
            assert torch.equal(together[row], answers(asked, model.generate(**asked, **FEW))[0])

    def test_drawn_ones_come_from_the_generator(self, stock) -> None:
        processor, model = stock
        asked = inputs(processor)

        def draw(seed: int) -> torch.Tensor:
            generator = torch.Generator().manual_seed(seed)
            return model.generate(**asked, **FEW, temperature=2.0, generator=generator).sequences

        assert torch.equal(draw(1), draw(1))
        assert not torch.equal(draw(1), draw(2))

    def test_a_draft_keeps_its_words(self, stock) -> None:
        processor, model = stock
        asked = inputs(processor)
        mask = model.config.mask_token_id
        draft = torch.tensor([[33, mask, 35, mask, mask, 36]])
        output = model.generate(**asked, max_new_tokens=6, draft_tokens=draft, stop_at_end_of_turn=False)
        found = answers(asked, output)[0]
        assert found[[0, 2, 5]].tolist() == [33, 35, 36]
        assert mask not in found
        assert float(output.tokens_per_forward[0]) == pytest.approx(3 / int(output.forwards[0]))

    def test_are_counted_up_to_their_first_end(self, stock) -> None:
        config = stock[1].config
        ended = [
            [40, 41, config.eot_token_id, 42],
            [40, config.eos_token_id, 41, config.eot_token_id],
            [40, 41, 42, 43],
        ]
        assert stock[1]._told(torch.tensor(ended)).tolist() == [3, 2, 4]

    def test_that_cannot_be_given_are_refused(self, stock) -> None:
        processor, model = stock
        asked = inputs(processor)
        more = torch.cat([asked["pixel_values"], asked["pixel_values"][:, :1]], dim=1)
        for options, words in (
            ({**asked, "image_sizes": None}, "1 images but 0 image_sizes"),
            ({**asked, "pixel_values": None}, "1 <image> placeholders"),
            ({**asked, "pixel_values": asked["pixel_values"][:, :2]}, r"call processor.follow\(model\)"),
            ({**asked, "pixel_values": more}, r"call processor.follow\(model\)"),
            ({**asked, "num_beams": 4}, "num_beams does not exist in masked-diffusion decoding"),
            ({**asked, "max_lenght": 4}, "max_lenght is no setting of masked diffusion"),
            ({**asked, "top_k": 5}, "top_k does not exist in masked-diffusion decoding"),
            ({**asked, "generation_config": LavidaGenerationConfig(top_p=0.9)}, "top_p does not exist"),
            ({**asked, "steps": 4, "threshold": 0.5}, "steps plans what threshold decides"),
            ({**asked, "max_new_tokens": 8192}, "more than the 4096 of this model"),
        ):
            with pytest.raises(ValueError, match=words):
                model.generate(**options)


class TestSettings:
    def test_are_fast_unless_said_otherwise(self) -> None:
        assert LavidaGenerationConfig().decoding == DECODINGS["fast"]

    @pytest.mark.parametrize("way", DECODINGS)
    def test_are_stored_and_read_again(self, way: str, tmp_path: Path) -> None:
        decoding = find_decoding(way, max_new_tokens=16, block_length=8)
        config = LavidaGenerationConfig.from_decoding(decoding, return_dict_in_generate=False, pad_token_id=3)
        config.save_pretrained(tmp_path)
        again = LavidaGenerationConfig.from_pretrained(tmp_path)
        assert again == config
        assert again.decoding == decoding
        assert (again.return_dict_in_generate, again.pad_token_id) == (False, 3)
        assert again != LavidaGenerationConfig()

    def test_travel_with_the_model(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
        shifted = {"steps": 4, "schedule": "shift", "schedule_kwargs": {"shift": 0.5}, "block_length": 8}
        model.generation_config = LavidaGenerationConfig(max_new_tokens=8, **shifted)
        model.save_pretrained(tmp_path)
        again = AutoModelForImageTextToText.from_pretrained(tmp_path)
        assert again.generation_config == model.generation_config
        assert again.generation_config.decoding == DecodingConfig(
            max_new_tokens=8, prefix_lm=True, stop_at_end_of_turn=True, **shifted
        )

    def test_that_plan_and_those_that_do_not_take_each_others_place(self) -> None:
        planned = LavidaGenerationConfig().changed({"steps": 8})
        assert (planned.steps, planned.threshold) == (8, None)
        again = planned.changed({"threshold": 0.9})
        assert (again.steps, again.threshold) == (None, 0.9)
        assert LavidaGenerationConfig(schedule="shift").threshold is None
        assert planned.changed({}) == planned

    def test_decide_about_an_answer(self, stock) -> None:
        processor, model = stock
        asked = inputs(processor)
        planned = LavidaGenerationConfig(max_new_tokens=8, steps=4, stop_at_end_of_turn=False)
        assert model.generate(**asked, generation_config=planned).forwards.tolist() == [4]
        assert model.generate(**asked, generation_config=planned, steps=2).forwards.tolist() == [2]
        assert planned.steps == 4
        plain = model.generate(**asked, generation_config=GenerationConfig(max_new_tokens=6, do_sample=False))
        assert answers(asked, plain).shape[1] == 6

    def test_of_other_models_are_left_alone_and_wrong_ones_refused(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        directory = copy_checkpoint(tiny_checkpoint, tmp_path / "copy")
        file = directory / "generation_config.json"
        load = AutoModelForImageTextToText.from_pretrained
        file.write_text('{"_from_model_config": true, "do_sample": true, "top_k": 50, "max_new_tokens": 99}')
        assert load(directory).generation_config == LavidaGenerationConfig()
        for text, words in (
            ('{"steps": 4, "top_k": 50}', "top_k does not exist"),
            ('{"steps": 0}', "steps must be a positive whole number"),
            ("{", "generation_config.json"),
        ):
            file.write_text(text)
            with pytest.raises(ValueError, match=words):
                load(directory)
