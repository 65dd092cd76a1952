"""SHIRG-X inside LaViDa: one method of one model instance is replaced, and can be put back.

    tokenizer, model, image_processor, _ = load_pretrained_model(path)
    with apply_shirg_x(model, ShirgXConfig(budget=768)):
        views = process_images([image], image_processor, model.config)
        answer = model.generate(prompt_ids, views, [image.size], prefix_lm=True)

Axis names as in ``shirg``: batch (images), patches, cells, tokens, dim (vision width), width (language width).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from llava.mm_utils import check_views
from llava.model.finite import check_finite
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.multimodal_encoder.builder import vision_directory
from llava.model.multimodal_encoder.siglip_text import SigLipTextTower
from llava.question import Question
from shirg.budget import page_maps, patch_entropy, predict_budgets
from shirg.config import ShirgXConfig, check_tower, same_budgets
from shirg.coordinates import CoordinateEmbedding, padded_page_boxes
from shirg.encoded import EncodedPages, ShirgXPrefix, cut_rows
from shirg.ink import color_spans, find_ink
from shirg.joining import join_views
from shirg.module import ShirgX
from shirg.parts import PARTS
from shirg.profiling import StageTimer
from shirg.question_budget import question_shares, smallest_budgets
from shirg.scoring import term_spread
from shirg.shirg_selector import select
from shirg.sources.inputs import SourceInputs
from shirg.tiling import Grid
from shirg.tokens import TokenSet
from shirg.transfer import to_device
from shirg.weights import load_weights, read_settings, read_weights, save_weights, taught_source

__all__ = ["CoordinateEmbedding", "EncodedPages", "ShirgX", "ShirgXHandle", "ShirgXPrefix", "apply_shirg_x"]

logger = logging.getLogger("shirg")


class ShirgXHandle:
    """A live patch: the stages of the encoding, and the way back.

    While it lives, ``model.config`` is a copy; what is changed in it is gone with the patch.

    ``encode_pages`` and ``select_tokens`` are the two halves of what the patched ``encode_images`` does, for callers
    that ask several questions of a page or want to see the decision.
    """

    def __init__(
        self, model: LavidaForMaskedDiffusion, config: ShirgXConfig, tokenizer: PreTrainedTokenizerBase | None
    ) -> None:
        self.model = model
        self.config = config
        self.timer = StageTimer(model.device, enabled=config.debug)
        self._tokenizer = tokenizer
        self._original_config = model.config
        self._original_kept = model.kept_shirg_x
        self.applied = True
        """Whether the patch is still on the model."""

    def _check_applied(self) -> None:
        if not self.applied:
            raise RuntimeError("this SHIRG-X patch has been removed already; apply_shirg_x(model) makes another")

    def forward_with_shirg_x(
        self,
        views: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        questions: Sequence[Question | None] | None = None,
    ) -> list[Tensor]:
        """The seam, patched: per image the scaffold and the K chosen detail tokens, (scaffold + K, width).

        Args:
            views: per image (tiles, 3, side, side), as ``process_images`` makes them with this model's config.
            image_sizes: (width, height) of each original image.
            questions: one per image; sources that read the question refuse to go without.
        """
        pages = self.encode_pages(views, image_sizes)
        prefix = self.select_tokens(pages, questions or [None] * len(views))
        if self.config.debug:
            self._log(pages, prefix)
        return prefix.sequences

    def encode_pages(
        self, views: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]], *, budget: int | None = None
    ) -> EncodedPages:
        """Dual-scale features, boxes and budgets of a batch of pages: everything that no question changes.

        Args:
            budget: detail tokens to keep, on offer or not, instead of what the configuration or the head says.

        Raises:
            ValueError: if views and sizes do not pair up, or a view is not the one this configuration wants.
        """
        self._check_applied()
        config, tower = self.config, self.model.get_vision_tower()
        tilings = check_views(views, image_sizes, self.model.config.image_view)
        grids = tuple((rows * config.grid, columns * config.grid) for rows, columns in tilings)
        pixels = torch.cat([to_device(view, tower.device) for view in views])
        counts = tuple(rows * columns for rows, columns in grids)
        boxes = candidates = None
        if config.resize == "pad":
            boxes, candidates = padded_page_boxes(grids, image_sizes, shapes=tilings)
            counts = tuple(candidates.sum(1).tolist())
        # Budgets are shapes, so the host must know them; asked for first, they are ready before the tower is queued.
        budgets = self._budgets(pixels, grids, counts, self.config.budget if budget is None else budget)
        with self.timer.stage("encode"):
            dual = tower.extract_shirg_x_tokens(
                pixels,
                grids=grids,
                scaffold_factor=config.scaffold_factor,
                attention_layer=config.attention_layer if "attention" in config.source.needs else None,
                with_values="values" in config.source.needs,
            )
        if boxes is not None and candidates is not None:
            scaffold_boxes, _ = padded_page_boxes([config.cells] * len(grids), image_sizes, shapes=tilings)
            dual = replace(
                dual,
                boxes=to_device(boxes, pixels.device),
                scaffold_boxes=to_device(scaffold_boxes, pixels.device),
                candidates=to_device(candidates, pixels.device),
            )
        with torch.no_grad(), self.timer.stage("ink"):
            spans = color_spans(tower.image_processor.to_8_bit(pixels.float()), patch_size=tower.patch_size)
            spans = join_views(spans.flatten(1), grids, view=(config.grid, config.grid))
            dual = replace(dual, inked=find_ink(spans, dual.candidates))
        projected = None
        if "projected" in config.source.needs:
            with torch.no_grad(), self.timer.stage("similarity"):
                projected = self.model.get_model().mm_projector(dual.detail)
        return EncodedPages(dual=dual, candidate_counts=counts, budgets=budgets, projected=projected)

    def select_tokens(
        self,
        pages: EncodedPages,
        questions: Sequence[Question | None],
        *,
        similarity: Tensor | None = None,
        outcomes: Tensor | None = None,
    ) -> ShirgXPrefix:
        """The visual prefix of each page for its question.

        Args:
            similarity: (batch, patches) to choose by, instead of what the configured source finds.
            outcomes: (batch, patches, outcomes) to choose by and tell, instead of what a source that tells any finds.

        Raises:
            ValueError: if there is not one question per page, or one is missing that the similarity source reads.
        """
        self._check_applied()
        config, dual = self.config, pages.dual
        if len(questions) != (count := len(pages.candidate_counts)):
            raise ValueError(f"{count} images but {len(questions)} questions were given; give one for each")
        with torch.no_grad(), self.timer.stage("similarity"):
            if outcomes is None and config.source.tells_outcomes:
                outcomes = self.outcomes(pages, questions)
            if similarity is None:
                similarity = self.similarity(pages, questions) if outcomes is None else outcomes.logsumexp(-1)
        budgets, counts = pages.budgets or self.question_budgets(pages, similarity), pages.candidate_counts
        tokens, selection = select(dual, similarity, config, budgets, candidate_counts=counts, timer=self.timer)
        told = None
        if outcomes is not None:
            told = self.model.shirg_x.relevance.telling(outcomes, selection.kept, dual.candidates)
        sequences, boxes = self.project_tokens(pages, tokens, told)
        return ShirgXPrefix(sequences=sequences, boxes=boxes, tokens=tokens, selection=selection)

    def project_tokens(
        self, pages: EncodedPages, tokens: TokenSet, told: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Scaffold and detail tokens of each page with their coordinates, projected, (scaffold + K, width) each.

        ``told`` (batch, K, width) is added to the detail tokens. Also returns the (x, y, h, w) of every token, of shape
        (scaffold + K, 4) each.
        """
        config, dual = self.config, pages.dual
        with self.timer.stage("project"):
            detail, scaffold = tokens.features, dual.scaffold
            if config.coordinates:
                embed = self.model.shirg_x.coordinates
                detail = detail + embed(tokens.boxes).to(detail.dtype)
                if config.coordinates_on_scaffold:
                    scaffold = scaffold + embed(dual.scaffold_boxes).to(scaffold.dtype)
            features = torch.cat([scaffold, detail], dim=1) if config.scaffold else detail
            boxes = torch.cat([dual.scaffold_boxes, tokens.boxes], dim=1) if config.scaffold else tokens.boxes
            finished = self.model.get_model().mm_projector(features)
            if told is not None:
                finished = finished + F.pad(told.to(finished.dtype), (0, 0, finished.shape[1] - told.shape[1], 0))
        ends = [features.shape[1] - tokens.features.shape[1] + length for length in tokens.lengths]
        return cut_rows(finished, ends), cut_rows(boxes, ends)

    def question_budgets(self, pages: EncodedPages, similarity: Tensor) -> tuple[int, ...]:
        """As many detail tokens of each page as its question needs, given what ``similarity`` finds, whatever its own
        budget; the host waits for them. A page with too few patches for any is a ValueError."""
        config, counts = self.config, pages.candidate_counts
        with torch.no_grad(), self.timer.stage("budget"):
            shares = question_shares(pages.dual, similarity, config)
            return smallest_budgets(shares, config.question_budgets, counts, mass=config.question_mass)

    def _budgets(
        self, pixels: Tensor, grids: Sequence[Grid], counts: Sequence[int], budget: int | str
    ) -> tuple[int, ...] | None:
        if budget == "question":
            return None
        if isinstance(budget, int):
            # Padding may leave a narrow page fewer patches than are asked for; it keeps them all.
            return tuple(min(budget, count) if self.config.resize == "pad" else budget for count in counts)
        with torch.no_grad(), self.timer.stage("budget"):
            return predict_budgets(self.budget_logits(pixels, grids), self.config.budgets, counts)

    def budget_logits(self, pixels: Tensor, grids: Sequence[Grid]) -> Tensor:
        """The budget head's logits (batch, budgets) for all views (views, 3, side, side) of pages of these grids."""
        return self.model.shirg_x.budget_head(self.budget_maps(pixels, grids))

    @torch.no_grad()
    def budget_maps(self, pixels: Tensor, grids: Sequence[Grid]) -> Tensor:
        """What the budget head looks at of each of these pages, (batch, 32, 32) float32."""
        tower = self.model.get_vision_tower()
        levels = tower.image_processor.to_8_bit(pixels.float())
        return page_maps(patch_entropy(levels, patch_size=tower.patch_size), grids)

    def similarity(self, pages: EncodedPages, questions: Sequence[Question | None]) -> Tensor:
        """What the configured source says of each patch for its page's question, (batch, patches), unscaled.

        Raises:
            ValueError: if a question is missing that the source reads.
        """
        source, dual = self.config.source, pages.dual
        words = mask = text = None
        if source.reads_question:
            asked = self._asked(questions)
            if "words" in source.needs:
                words, mask = self.word_embeddings(asked)
            if "text" in source.needs:
                text = self.model.shirg_x.text_tower([self._text_of(question) for question in asked])
        return source.score(
            SourceInputs(
                patches=dual.detail,
                projected=pages.projected,
                words=words,
                word_mask=mask,
                text=text,
                attention=dual.attention_received,
                values=dual.value_embeddings,
                weights=getattr(self.model.shirg_x, "relevance", None),
            )
        )

    def outcomes(self, pages: EncodedPages, questions: Sequence[Question | None]) -> Tensor:
        """What each patch is relevant for, (batch, patches, outcomes) float32, where the source tells outcomes."""
        words, mask = self.word_embeddings(self._asked(questions))
        return self.model.shirg_x.relevance.by_outcome(pages.dual.detail, words, mask)

    def _asked(self, questions: Sequence[Question | None]) -> list[Question]:
        asked: list[Question] = []
        for index, question in enumerate(questions):
            if question is None:
                unread = "cannot be read without the tokenizer that load_pretrained_model brings"
                reason = unread if self.model.prompt_ids.user_role is None else "has no user turn with a question"
                raise ValueError(
                    f"SHIRG-X with similarity {self.config.similarity!r} chooses tokens by the question, but the "
                    f"prompt of image {index} {reason}; pass questions=, or choose similarity: attention"
                )
            asked.append(question)
        return asked

    def _text_of(self, question: Question) -> str:
        if question.text is not None:
            return question.text
        if self._tokenizer is None:
            raise ValueError(
                "similarity: siglip reads the question's text, but only its ids are known; give apply_shirg_x the "
                "tokenizer, or pass questions= with text"
            )
        return self._tokenizer.decode(question.ids)

    def word_embeddings(self, questions: Sequence[Question]) -> tuple[Tensor, Tensor]:
        """(batch, words, width) embeddings of the questions' words and (batch, words) True where there is one."""
        rows = [torch.tensor(question.ids) for question in questions]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        ids, mask = (to_device(each, self.model.device) for each in (ids, mask))
        return self.model.get_model().embed_tokens(ids), mask

    def _log(self, pages: EncodedPages, prefix: ShirgXPrefix) -> None:
        spread = term_spread(prefix.selection.scores, pages.dual.candidates, self.config)
        logger.debug("kept %s, spread of the weighted terms per image: %s", prefix.tokens.lengths, spread)
        self.timer.log_report(logging.DEBUG)

    def save(self, directory: str | Path) -> None:
        """Write SHIRG-X's weights and settings alone, to be given to ``apply_shirg_x(weights=...)``."""
        self._check_applied()
        save_weights(directory, self.model.shirg_x, self.config, unused=self.model.kept_shirg_x)

    def remove(self) -> None:
        """Put the model back exactly as it was.

        Raises:
            RuntimeError: if that has happened already.
        """
        self._check_applied()
        self.model.__dict__.pop("encode_images", None)
        del self.model.shirg_x
        self.model.config = self._original_config
        self.model.kept_shirg_x = self._original_kept
        self.applied = False

    def __enter__(self) -> ShirgXHandle:
        return self

    def __exit__(self, *_: object) -> None:
        if self.applied:
            self.remove()


def apply_shirg_x(
    model: LavidaForMaskedDiffusion,
    config: ShirgXConfig | None = None,
    *,
    weights: str | Path | Literal[False] | None = None,
    fresh: Sequence[str] = (),
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> ShirgXHandle:
    """Give one model SHIRG-X; every other model in the process stays as it is.

    Args:
        config: settings; those the checkpoint was saved with when not given, else the defaults.
        weights: a directory with SHIRG-X's weights; the model's own checkpoint is searched when not given, and False
            starts fresh, alike every time. Fresh coordinates add nothing, and a fresh head keeps the largest budget. A
            head that learned to choose among other budgets than those of ``config`` (other shares of the patches)
            starts fresh too, with a warning if it is asked.
        fresh: those of ``shirg.parts.PARTS`` to start fresh although there are weights.
        tokenizer: the model's, for the ``siglip`` source when prompts come as ids.

    Raises:
        RuntimeError: if the model is patched already.
        ValueError: if the weights do not fit the settings, the tower lacks layers that the similarity reads, or there
            is no part of a name in ``fresh``.
        FileNotFoundError: if ``weights`` holds none.
    """
    if "shirg_x" in model._modules:
        raise RuntimeError("SHIRG-X is applied to this model already; remove() it first")
    if unknown := [part for part in fresh if part not in PARTS]:
        raise ValueError(f"there is no part {unknown[0]!r} to start fresh; the parts are {', '.join(PARTS)}")
    if config is None:
        config = ShirgXConfig.from_dict(model.config.shirg_x or {})
    tensors = model.kept_shirg_x if weights is None else read_weights(weights) if weights else {}
    saved = read_settings(weights) if weights else model.config.shirg_x
    if tensors and "budget_head" not in fresh and not same_budgets(saved, config):
        fresh = (*fresh, "budget_head")
        if config.mode == "shirg_x" and config.budget == "auto":
            logger.warning(
                "the budget head learned to choose among other budgets than %s, so it starts anew and keeps the most "
                "tokens until it is trained; or set a fixed budget",
                config.budgets,
            )
    if config.similarity == "auto":
        config = config.replace(similarity=taught_source(tensors) or "projected")
        logger.info("similarity: auto means %s here", config.similarity)
    patched, tower, width = config.mode == "shirg_x", model.get_vision_tower(), model.config.hidden_size
    check_tower(config, keep_all_layers=tower.keep_all_layers, gathered=tower.gathered, width=width)
    module = ShirgX(config, vision_dim=tower.hidden_size, word_dim=width)
    if patched and "text" in config.source.needs:
        module.text_tower = SigLipTextTower.from_directory(vision_directory(model.config))
    if tensors:
        load_weights(module, tensors, fresh=fresh)
        check_finite(module.named_parameters(), str(weights or model.config.name_or_path))
    untaught = "relevance" in fresh or taught_source(tensors) != config.similarity
    if config.source.weights is not None and untaught:
        if weights and "relevance" not in fresh:
            raise ValueError(
                f"{weights} holds no weights of similarity: {config.similarity}; choose another, or other weights"
            )
        said = "similarity: %s has no weights yet, so its ranking means nothing until it is trained"
        logger.warning(said, config.similarity)
    module.to(device=model.device, dtype=model.dtype).train(model.training)
    handle = ShirgXHandle(model, config, tokenizer)
    model.add_module("shirg_x", module)
    model.kept_shirg_x = {name: tensors[name] for name in tensors.keys() - module.state_dict().keys()}
    # A copy, so that a config shared with other models or held by the caller does not change under them.
    model.config = copy.deepcopy(model.config)
    model.config.shirg_x = config.to_dict()
    if patched:
        model.config.image_view = config.views(tower.patch_size)
        model.__dict__["encode_images"] = handle.forward_with_shirg_x
    return handle
