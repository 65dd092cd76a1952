"""Drawn pages as training samples: page number i is drawn when it is asked for, and never stored."""

import torch
from torch.utils.data import Dataset
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.data.batch import Group
from llava.data.infill import WHOLE, InfillConfig, draw_gap
from llava.data.page_config import PagesConfig
from llava.data.page_truth import Namer, answer_pointers, page_truth
from llava.data.sample import Sample, encode_conversation
from llava.image_processor import SigLipImageProcessor
from llava.mm_utils import process_images
from llava.pages import STYLES, draw_page
from llava.pages.chance import sample as draw_sample
from llava.pages.stream import page_generator

_QUESTION_STREAM = 1_000_003
"""Keeps the choice of questions independent of the drawing of the page."""


class PageDataset(Dataset[Group]):
    """Groups of samples, one page each: the page is encoded once for all its questions.

    Args:
        max_extra_blocks: up to so many more blocks of end-of-text behind each answer, chosen by the page's number.
        infill: gaps opened in answers.
        truth_grid: patches per side of a view, of which samples carry the truth; None for samples without.
        spelled: give each character of an answer a token of its own.
        model_config: decides the views, as in ``process_images``: LaViDa's, or a patched model's square ones.
    """

    def __init__(
        self,
        config: PagesConfig,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: SigLipImageProcessor,
        model_config: PretrainedConfig,
        *,
        answer_block: int = 32,
        max_extra_blocks: int = 0,
        infill: InfillConfig = WHOLE,
        truth_grid: int | None = None,
        spelled: bool = False,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.model_config = model_config
        self.answer_block = answer_block
        self.max_extra_blocks = max_extra_blocks
        self.infill = infill
        self.truth_grid = truth_grid
        self.spelled = spelled
        self._namer = Namer(tokenizer) if truth_grid is not None else None

    def __len__(self) -> int:
        return self.config.pages

    def __getitem__(self, index: int) -> Group:
        if not 0 <= index < len(self):
            raise IndexError(f"page {index} of {len(self)}")
        config, number = self.config, self.config.first + index
        family = config.families[number % len(config.families)]
        page = draw_page(family, config.split, config.seed, number, STYLES[config.style])
        rng = page_generator(family, config.split, config.seed + _QUESTION_STREAM, number)
        asked = draw_sample(rng, range(len(page.questions)), min(config.questions, len(page.questions)))
        views = tuple(process_images([page.image], self.image_processor, self.model_config))
        truth, grid, patch = None, (0, 0), 0
        if self._namer is not None and self.truth_grid is not None:
            rows, columns = self.model_config.image_view.tiling(page.image.size)
            grid = (rows * self.truth_grid, columns * self.truth_grid)
            patch = views[0].shape[-1] // self.truth_grid
            truth = page_truth(page, grid, patch, self._namer)
        samples: list[Sample] = []
        for place in sorted(asked):
            question, name = page.questions[place], f"{family}-{config.split}-{config.seed}-{number}-{place}"
            gap = draw_gap(self.infill, self.model_config.infill_token_id, name)
            encoded = encode_conversation(
                [("user", f"{DEFAULT_IMAGE_TOKEN}\n{question.question}"), ("assistant", question.answer)],
                self.tokenizer,
                answer_block=self.answer_block,
                extra_blocks=int(rng.integers(self.max_extra_blocks + 1)),
                gap=gap,
                spelled=self.spelled,
                template=self.model_config.conversation,
            )
            # Behind a gap's padding, characters no longer stand where they are counted.
            points = truth is not None and self.spelled and gap is None
            pointers = answer_pointers(page, question, grid, patch) if points else []
            samples.append(
                Sample(
                    id=name,
                    input_ids=encoded.input_ids,
                    labels=encoded.labels,
                    views=views,
                    image_sizes=(page.image.size,),
                    question=encoded.question,
                    truth=truth,
                    page_question=question,
                    pointers=torch.tensor(pointers, dtype=torch.int32) if pointers else None,
                )
            )
        return tuple(samples)
