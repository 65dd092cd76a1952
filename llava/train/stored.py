"""Pages that are stored as a tower has seen them: how they are made, and whether they fit a run."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import EncodedPages, ShirgXHandle
from llava.data.feature_store import SeenPage, StoredPages, check_making
from llava.data.page_data import PageDataset
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.train.config import TrainConfig
from shirg.scaffold import dual_scale


def making(config: TrainConfig, model: LavidaForMaskedDiffusion, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """All that decides what a stored page holds, as plain values."""
    assert config.pages is not None
    assert config.shirg_x is not None
    drawn = config.pages.to_dict()
    for name in ("stored", "pages", "first", "questions"):
        del drawn[name]
    return {
        "drawn": drawn,
        "grid": config.shirg_x.grid,
        "answers": config.answers,
        "answer_block": config.answer_block,
        "max_extra_blocks": config.max_extra_blocks,
        "infill": config.infill.to_dict(),
        "tower": _digest(model.get_vision_tower().state_dict()),
        "tokenizer": hashlib.sha256(repr(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()[:16],
    }


def stored_pages(
    config: TrainConfig, model: LavidaForMaskedDiffusion, tokenizer: PreTrainedTokenizerBase
) -> StoredPages:
    """The stored pages that a run trains on.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they were made for another tower, tokenizer or style of answers.
    """
    assert config.pages is not None
    assert config.pages.stored is not None
    pages = StoredPages(config.pages.stored, questions=config.pages.questions)
    check_making(pages.folder, pages.settings, making(config, model, tokenizer))
    return pages


@torch.no_grad()
def see_pages(handle: ShirgXHandle, pages: PageDataset, start: int, *, batch: int = 8) -> Iterator[SeenPage]:
    """Pages from number ``start`` on, each with what the tower sees, in bfloat16."""
    for first in range(start, len(pages), batch):
        groups = [pages[number] for number in range(first, min(first + batch, len(pages)))]
        samples = [group[0] for group in groups]
        views, sizes = [sample.views[0] for sample in samples], [sample.image_sizes[0] for sample in samples]
        dual = handle.encode_pages(views, sizes, budget=1).dual
        assert dual.inked is not None
        for group, patches, inked in zip(groups, dual.detail.to(torch.bfloat16), dual.inked, strict=True):
            yield SeenPage(group=group, patches=patches, inked=inked)


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        # As they are shipped: the weights of a float32 and of a bfloat16 checkpoint see the same.
        digest.update(name.encode() + state[name].detach().to(torch.bfloat16).cpu().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def encode_stored(handle: ShirgXHandle, patches: Tensor, inked: Tensor, *, budget: int) -> EncodedPages:
    """Pages whose patches (batch, patches, dim) the tower has seen before, as ``handle.encode_pages`` makes them.

    Args:
        inked: (batch, patches) bool: which show more than paper.
        budget: detail tokens to keep; the head that would choose reads pixels.

    Raises:
        ValueError: if the configuration needs padding or scores that only the tower gives.
    """
    config, model = handle.config, handle.model
    if config.resize == "pad" or config.tiles != 1 or {"attention", "values"} & set(config.source.needs):
        raise ValueError(
            "stored pages hold what the tower saw of one stretched view and nothing else; choose tiles: 1, resize: "
            "stretch and a similarity that reads patches and words"
        )
    side, cells = config.grid, config.grid // config.scaffold_factor
    dual = replace(dual_scale(patches, ((side, side),) * len(patches), (cells, cells)), inked=inked)
    dual = replace(dual, own_dim=model.get_vision_tower().own_size)
    projected = None
    if "projected" in config.source.needs:
        with torch.no_grad():
            projected = model.get_model().mm_projector(dual.detail)
    counts = (config.num_patches,) * len(patches)
    return EncodedPages(dual=dual, candidate_counts=counts, budgets=(budget,) * len(patches), projected=projected)
