"""What a run trains on: looked at before a model is loaded, and made into samples once there is one."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from torch.utils.data import Dataset

from lavida_shirg_integration import ShirgXHandle
from llava.data.checks import CheckReport
from llava.data.conversations import ConversationConfig, ConversationDataset, ImageTokens, image_token_counter
from llava.data.held_out import hold_out
from llava.data.infill import draw_gap
from llava.data.joined import JoinedRecords, weigh
from llava.data.mixture import read_mixture
from llava.data.page_data import PageDataset
from llava.data.real_sets import read_real_set
from llava.data.records import RecordStore
from llava.image_processor import SigLipImageProcessor
from llava.inference.checkpoint import vision_kwargs
from llava.model.builder import Loaded, fill_special_ids, load_tokenizer
from llava.model.config_file import read_config
from llava.model.hub import resolve_directory
from llava.model.language_model.lavida_config import LavidaConfig
from llava.train.config import TrainConfig
from llava.train.stored import stored_pages
from shirg.tiling import PageViews, Size

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """Data of a run that were looked at; of drawn pages there is nothing to be seen before they are drawn."""

    dataset: ConversationDataset | None = None
    """What its records hold, without the model's own way to see images: to be counted and read, not to train on."""
    report: CheckReport | None = None
    unusable: Mapping[int, str] = field(default_factory=dict)
    held_out: RecordStore | None = None
    """Records that are not among them."""


def read_records(config: TrainConfig) -> RecordStore:
    """The records of the configuration's mixture or real sets, each once.

    Raises:
        FileNotFoundError, ImportError, ValueError: if they cannot be read.
    """
    if config.mixture is not None:
        return read_mixture(config.mixture, image_folder=config.images, seed=config.seed)
    stores = [
        read_real_set(real.name, real.location, sampling_strategy=real.sampling_strategy, seed=config.seed)
        for real in config.real_sets
    ]
    return stores[0] if len(stores) == 1 else JoinedRecords(stores)


def look_at_data(config: TrainConfig, *, max_missing_images: float | None = None) -> LookedAt:
    """Read the records, look for their images and measure their texts, with no more of the model than its tokenizer.

    Args:
        max_missing_images: in place of the configuration's.

    Raises:
        FileNotFoundError, ValueError: if they cannot be read, nothing of use is among them, or too much is missing.
    """
    if config.pages is not None:
        return LookedAt()
    directory = resolve_directory(config.model, allow_patterns=("*.json",))
    model_config, tokenizer = read_config(directory, dict(vision_kwargs(config.shirg_x))), load_tokenizer(directory)
    fill_special_ids(model_config, tokenizer, directory)
    shirg = config.shirg_x
    same = None
    if shirg is not None and shirg.mode != "stock" and shirg.tiles != "auto":
        same = shirg_positions(config, None, (1, 1), learns=shirg.source.weights is not None)
    records, held_out = hold_out(read_records(config), config.held_out, seed=config.seed)
    records = weigh(records, config.weights, seed=config.seed)
    dataset = ConversationDataset(
        records,
        tokenizer,
        SigLipImageProcessor(),
        model_config,
        image_tokens=lambda _: same or 0,
        tokens_per_image=same,
        config=_conversations(config, model_config),
    )
    share = config.max_missing_images if max_missing_images is None else max_missing_images
    report = dataset.check(max_missing_images=share)
    return LookedAt(dataset=dataset, report=report, unusable=dataset.unusable, held_out=held_out)


def make_dataset(config: TrainConfig, loaded: Loaded, handle: ShirgXHandle | None, looked_at: LookedAt) -> Dataset:
    """The samples of a run, for the model as it is now.

    Raises:
        FileNotFoundError, ValueError: if stored pages are missing or do not fit.
    """
    tokenizer, model, image_processor, _ = loaded
    draw_gap(config.infill, model.config.infill_token_id)  # refuses a model without the token before the first step
    if config.pages is not None and config.pages.stored is not None:
        return stored_pages(config, model, tokenizer)
    if config.pages is not None:
        return PageDataset(
            config.pages,
            tokenizer,
            image_processor,
            model.config,
            answer_block=config.answer_block,
            max_extra_blocks=config.max_extra_blocks,
            infill=config.infill,
            truth_grid=_truth_grid(config),
            spelled=config.answers == "spelled",
        )
    assert looked_at.dataset is not None
    dataset = _dataset_of(looked_at.dataset.records, config, loaded, handle, looked_at.unusable)
    report = looked_at.report
    assert report is not None
    logger.log(logging.WARNING if report.num_bad else logging.INFO, "%s", report)
    for example in report.examples:
        logger.warning("cannot be used: %s", example)
    return dataset


def make_held_out(
    config: TrainConfig, loaded: Loaded, handle: ShirgXHandle | None, looked_at: LookedAt
) -> ConversationDataset | None:
    """The samples that a run is asked about and does not train on; None where none are held out."""
    if looked_at.held_out is None:
        return None
    dataset = _dataset_of(looked_at.held_out, config, loaded, handle, {})
    dataset.check()
    return dataset


def _dataset_of(
    records: RecordStore,
    config: TrainConfig,
    loaded: Loaded,
    handle: ShirgXHandle | None,
    unusable: Mapping[int, str],
) -> ConversationDataset:
    tokenizer, model, image_processor, _ = loaded
    view: PageViews | None = getattr(model.config, "image_view", None)
    counter: ImageTokens = image_token_counter(model)
    if view is not None:
        assert handle is not None
        counter = partial(shirg_positions, config, view, learns=handle.config.source.weights is not None)
    return ConversationDataset(
        records,
        tokenizer,
        image_processor,
        model.config,
        image_tokens=counter,
        config=_conversations(config, model.config),
        unusable=unusable,
    )


def shirg_positions(config: TrainConfig, view: PageViews | None, size: Size, *, learns: bool) -> int:
    """Positions that an image takes in the longest pass of a step: with the largest budget, or with every patch where
    a teacher of the relevance looks at all of them.

    Args:
        view: tells how many tiles an image of this size has; not needed where all have as many.
        learns: whether the relevance is taught.
    """
    shirg, losses = config.shirg_x, config.losses
    assert shirg is not None
    detail = max(config.drawn_budgets)
    if learns and losses.denoising and losses.weight("relevance") and losses.relevance_teacher in ("attention", "gate"):
        detail = shirg.num_patches if view is None else math.prod(view.tiling(size)) * shirg.grid**2
    return detail + shirg.scaffold * shirg.scaffold_tokens


def _conversations(config: TrainConfig, model_config: LavidaConfig) -> ConversationConfig:
    return ConversationConfig(
        max_sequence_length=model_config.max_sequence_length,
        answer_block=config.answer_block,
        max_extra_blocks=config.max_extra_blocks,
        infill=config.infill,
        infill_id=model_config.infill_token_id,
        template=model_config.conversation,
        seed=config.seed,
        require_question=config.shirg_x is not None and config.shirg_x.source.reads_question,
    )


def _truth_grid(config: TrainConfig) -> int | None:
    """Patches per side whose truth a loss asks for; None where none does."""
    if config.shirg_x is None or not config.losses.page_losses:
        return None
    return config.shirg_x.grid
