"""What the tests of the training losses share: a small fresh model, batches of pages and of text, and their chance."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from lavida_shirg_integration import ShirgXHandle, apply_shirg_x
from llava.data.batch import Batch, Group, draw_noise
from llava.data.page_data import PageDataset, PagesConfig
from llava.data.sample import Sample, encode_conversation
from llava.mm_utils import process_images
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion
from llava.pages import STYLES, Page, draw_page
from llava.train.create import SmallModelConfig, build_tokenizer, create_model, drawn_views, page_texts
from llava.train.losses.config import LossConfig
from llava.train.model import Draws, Parts, TrainingModel
from shirg.config import ShirgXConfig
from tests.model.test_parity import block_image

SHIRG_X = ShirgXConfig(grid=12, budgets=(29, 43, 61), budget=61, similarity="projected")
EVERYTHING: dict[str, Any] = {
    "reading": 1.0,
    "alignment": 1.0,
    "pointing": 1.0,
    "grounding": 1.0,
    "pointing_layers": (0, 2),
    "budget_memory": 1,  # so that a step depends on no other
}
SIZES = SmallModelConfig(
    width=32, heads=4, vision_layers=2, language_layers=3, vision_mlp=48, language_mlp=40, vocabulary=1536
)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(page_texts(("entity_grid",), ("shapes",), 20), SIZES.vocabulary)


@cache
def _first_views() -> list[torch.Tensor]:
    return drawn_views(168, "shapes", 2)


def fresh_model() -> LlavaLladaForMaskedDiffusion:
    return create_model(SIZES, tokenizer(), _first_views()).train()


def patched_model(similarity: str = "projected", **changes: Any) -> tuple[LlavaLladaForMaskedDiffusion, ShirgXHandle]:
    """A fresh model under SHIRG-X whose new parts are not at their idle starts."""
    torch.manual_seed(11)
    model = fresh_model()
    handle = apply_shirg_x(model, SHIRG_X.replace(similarity=similarity, **changes), tokenizer=tokenizer())
    with torch.no_grad():
        model.shirg_x.coordinates.coord_out.weight.normal_(std=0.3)
        model.shirg_x.budget_head.out.weight.normal_(std=0.3)
    return model, handle


def training_model(similarity: str = "projected", **losses: Any) -> TrainingModel:
    """A ``TrainingModel`` with all losses on, except as ``losses`` says."""
    model, handle = patched_model(similarity)
    config = LossConfig.from_dict({**EVERYTHING, **losses})
    torch.manual_seed(13)
    return TrainingModel(model, handle, config, drawn=True)


def page_groups(model: LlavaLladaForMaskedDiffusion, pages: int, *, first: int = 0) -> list[Group]:
    """Two questions about each of some drawn pages."""
    config = PagesConfig(families=("entity_grid",), style="shapes", pages=100, first=first)
    processor = model.get_vision_tower().image_processor
    dataset = PageDataset(
        config, tokenizer(), processor, model.config, answer_block=4, truth_grid=SHIRG_X.grid, spelled=True
    )
    return [dataset[index] for index in range(pages)]


def page_of(sample: str) -> Page:
    """The page of a sample of ``page_groups``, drawn again from the sample's id."""
    family, split, seed, number, _ = sample.split("-")
    return draw_page(family, split, int(seed), int(number), STYLES["shapes"])


def make_sample(
    model: LlavaLladaForMaskedDiffusion,
    name: str,
    question: str,
    answer: str,
    images: Sequence[Image.Image] = (),
    **settings: Any,
) -> Sample:
    """A sample with as many images as ``question`` has placeholders."""
    encoded = encode_conversation(
        [("user", question), ("assistant", answer)], tokenizer(), **{"answer_block": 4, **settings}
    )
    processor = model.get_vision_tower().image_processor
    return Sample(
        id=name,
        input_ids=encoded.input_ids,
        labels=encoded.labels,
        views=tuple(process_images(list(images), processor, model.config)) if images else (),
        image_sizes=tuple(image.size for image in images),
        question=encoded.question,
    )


def text_group(model: LlavaLladaForMaskedDiffusion) -> Group:
    return (make_sample(model, "text", "What color is it?", "it is blue, I think"),)


def image_group(model: LlavaLladaForMaskedDiffusion) -> Group:
    """Two images with text in front of, between and behind them."""
    images = [block_image(90, 70, 1), block_image(64, 200, 3)]
    return (make_sample(model, "two images", "Is <image> left of <image> or not?", "yes", images),)


def draw_all(batch: Batch, *, budget: int | None = 43, measured: bool = True, gate: bool = False) -> Draws:
    times, noise = draw_noise(batch, "mask", 5)
    measurements = tuple(draw_noise(batch, "measure", draw) for draw in range(4)) if measured else ()
    return Draws(times=times, noise=noise, budget=budget, gate=gate, gate_seed=17, measurements=measurements)


def total_of(parts: Parts) -> torch.Tensor:
    return torch.stack([value / count.clamp(min=1) for value, count in parts.values()]).sum()


def gradients(module: TrainingModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Those of this loss alone."""
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def moved_by(module: TrainingModel, loss: torch.Tensor) -> set[str]:
    """The parameters that this loss alone would change."""
    return {name for name, grad in gradients(module, loss).items() if bool(grad.abs().sum() > 0)}
