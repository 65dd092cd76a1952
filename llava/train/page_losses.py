"""What drawn pages can teach beyond their answers, since the generator knows everything about them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import EncodedPages, ShirgXPrefix
from llava.constants import IGNORE_INDEX
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion
from llava.train.batch import Batch, detail_starts
from llava.train.losses import LossConfig
from llava.train.objective import TwoCopies
from llava.train.pages import Page
from llava.train.parts import Parts
from llava.train.pointing import BlockInput, place_in_rows, pointing_loss, tokens_under
from llava.train.reading import ReadingHeads, WordTable, alignment_loss, patch_targets, reading_loss


class PageLosses(nn.Module):
    """Reading, alignment and pointing, as far as ``losses`` asks for them, on batches of drawn pages.

    Args:
        vision_dim: width of the vision tower.
    """

    def __init__(self, losses: LossConfig, tokenizer: PreTrainedTokenizerBase, *, vision_dim: int) -> None:
        super().__init__()
        self.losses = losses
        self.content_end = tuple({*tokenizer.all_special_ids})
        if losses.reading:
            self.heads = ReadingHeads(vision_dim)
        if losses.alignment:
            self.words = WordTable(tokenizer)

    def read(self, parts: Parts, batch: Batch, encoded: EncodedPages, lavida: LlavaLladaForMaskedDiffusion) -> None:
        """Add what the patches of every page should be called."""
        if not (self.losses.reading or self.losses.alignment):
            return
        dual = encoded.dual
        device = dual.detail.device
        targets = {name: target.to(device) for name, target in patch_targets(drawn_pages(batch), dual.grid).items()}
        count = torch.tensor(len(dual.detail), device=device)
        if self.losses.reading:
            reading = reading_loss(self.heads(dual.detail), targets)
            parts["reading"] = (reading.losses.sum(), count)
        if self.losses.alignment:
            projected = lavida.get_model().mm_projector(dual.detail)
            embeddings = lavida.get_input_embeddings().weight
            assert isinstance(embeddings, Tensor)
            parts["alignment"] = (alignment_loss(projected, self.words(targets), embeddings).sum(), count)

    def point(
        self, parts: Parts, batch: Batch, prefix: ShirgXPrefix, copies: TwoCopies, inputs: list[BlockInput]
    ) -> None:
        """Add what masked words of the answer should look at: detail tokens on what the answer is read from."""
        lengths = prefix.tokens.lengths
        drawn_pages(batch)
        boxes = [row[:length] for row, length in zip(prefix.tokens.boxes, lengths, strict=True)]
        starts = detail_starts(batch, [len(row) for row in prefix.sequences], lengths)
        shape = (len(batch.ids), copies.labels.shape[1])
        targets = place_in_rows(_under_answers(batch, boxes), batch.sample_index, starts, shape=shape)[copies.samples]
        content = copies.labels != IGNORE_INDEX
        for token in self.content_end:
            content &= copies.labels != token
        parts["pointing"] = pointing_loss(inputs, copies.masked & content, targets, heads=self.losses.pointing_heads)

    def answer_patches(self, batch: Batch, rows: EncodedPages) -> Tensor:
        """(rows, patches) bool: patches that share an area with what the answer is read from."""
        return torch.stack(_under_answers(batch, rows.dual.boxes))


def _under_answers(batch: Batch, boxes: Iterable[Tensor]) -> list[Tensor]:
    """Per image (tokens,) bool: its tokens, at ``boxes`` (tokens, 4), on what its sample's answer is read from."""
    under = []
    for sample, row in zip(batch.sample_index, boxes, strict=True):
        question = batch.page_questions[sample]
        under.append(tokens_under(row, () if question is None else question.answer_boxes))
    return under


def drawn_pages(batch: Batch) -> list[Page]:
    """The pages behind the batch's images.

    Raises:
        ValueError: if an image is none: then nobody knows what its patches show.
    """
    pages = [page for page in batch.pages if page is not None]
    if len(pages) != len(batch.pages):
        raise ValueError("reading, alignment and pointing need drawn pages; set their weights to 0 for other data")
    return pages
