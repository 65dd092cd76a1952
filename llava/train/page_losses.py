"""What drawn pages can teach beyond their answers, since the generator knows everything about them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from lavida_shirg_integration import EncodedPages, ShirgXPrefix
from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion
from llava.train.batch import Batch, detail_starts
from llava.train.labeling import label_targets, labeling_loss
from llava.train.losses import LossConfig
from llava.train.objective import TwoCopies
from llava.train.pages import Box, Page, PageQuestion
from llava.train.parts import Parts
from llava.train.pointing import BlockInput, place_in_rows, pointing_loss, tokens_under
from llava.train.reading import ReadingHeads, WordTable, alignment_loss, patch_targets, reading_loss
from llava.train.speaking import SPOKEN, WordPlaces, speaking_loss

_ANSWER, _EVIDENCE = attrgetter("answer_boxes"), attrgetter("evidence")


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
        if self.needs_words:
            self.words = WordTable(tokenizer)
        if losses.speaking:
            self.places = WordPlaces(tokenizer)

    @property
    def needs_words(self) -> bool:
        """Whether a loss asks what patches should be called."""
        return max(self.losses.alignment, self.losses.grounding, self.losses.speaking) > 0

    def read(
        self, parts: Parts, batch: Batch, encoded: EncodedPages, lavida: LlavaLladaForMaskedDiffusion
    ) -> Mapping[str, Tensor]:
        """Add what the patches of every page should be called, and give it as ``WordTable`` does, per view.

        Empty where no loss asks for words.
        """
        losses = self.losses
        if not (losses.reading or self.needs_words):
            return {}
        dual = encoded.dual
        device = dual.detail.device
        targets = {name: target.to(device) for name, target in patch_targets(drawn_pages(batch), dual.grid).items()}
        count = torch.tensor(len(dual.detail), device=device)
        if losses.reading:
            parts["reading"] = (reading_loss(self.heads(dual.detail), targets).sum(), count)
        if not self.needs_words:
            return {}
        words = self.words(targets)
        if losses.alignment:
            projected = lavida.get_model().mm_projector(dual.detail)
            # In the head's words as well as in the embedding's: what is looked at can then be said as it is.
            spoken = lavida.get_input_embeddings()(self.words.tokens), lavida.model.head_weight[self.words.tokens]
            each = [alignment_loss(projected, words, vocabulary) for vocabulary in spoken]
            parts["alignment"] = (torch.stack(each).mean(0).sum(), count)
        return words

    def label(self, parts: Parts, batch: Batch, grid: int, layer: SiglipEncoderLayer, hidden: Tensor) -> None:
        """Add where the tower's last layer, given ``hidden``, should look: from every patch to its labels."""
        belongs, printed = (ids.to(hidden.device) for ids in label_targets(drawn_pages(batch), grid))
        losses = labeling_loss(layer, hidden, belongs, printed)
        parts["labeling"] = (losses.sum(), torch.tensor(len(losses), device=hidden.device))

    def look(
        self,
        parts: Parts,
        batch: Batch,
        prefix: ShirgXPrefix,
        copies: TwoCopies,
        inputs: Mapping[int, BlockInput],
        words: Mapping[str, Tensor],
        head: Tensor,
    ) -> None:
        """Add where the language model should look: answers at what they are read from, words at what they name.

        Where words look at what they name, answers look at those words, to learn what is asked for. Add, too, what the
        language model should say where it looks.

        Args:
            words: what ``read`` gave for this batch.
            head: (vocab, dim) the language model's head.
        """
        losses = self.losses
        if losses.pointing:
            given = [inputs[layer] for layer in losses.pointing_layers]
            parts["pointing"] = self._point(batch, prefix, copies, given)
        if losses.grounding:
            given = [inputs[layer] for layer in losses.grounding_layers]
            parts["grounding"] = self._ground(batch, prefix, copies, given, words)
        if losses.speaking:
            given = [inputs[layer] for layer in losses.pointing_layers]
            parts["speaking"] = self._speak(batch, prefix, given, words, head[self.words.tokens])

    def _point(
        self, batch: Batch, prefix: ShirgXPrefix, copies: TwoCopies, inputs: Sequence[BlockInput]
    ) -> tuple[Tensor, Tensor]:
        lengths = prefix.tokens.lengths
        drawn_pages(batch)
        boxes = [row[:length] for row, length in zip(prefix.tokens.boxes, lengths, strict=True)]
        starts = detail_starts(batch, [len(row) for row in prefix.sequences], lengths)
        shape = (len(batch.ids), copies.labels.shape[1])
        targets = place_in_rows(_under(batch, boxes, _ANSWER), batch.sample_index, starts, shape=shape)[copies.samples]
        content, heads = self._is_content(copies), self.losses.pointing_heads
        if not self.losses.speaking:
            return pointing_loss(inputs, copies.masked & content, targets, heads=heads)
        places = self.places(copies.labels, content)
        asking = copies.masked & (places >= 0) & (places < heads)
        return pointing_loss(inputs, asking, targets, heads=heads, own_head=places)

    def _ground(
        self,
        batch: Batch,
        prefix: ShirgXPrefix,
        copies: TwoCopies,
        inputs: Sequence[BlockInput],
        words: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        lengths, kept = prefix.tokens.lengths, prefix.selection.kept
        device = kept.device
        # One more column, for words that name nothing.
        shown = F.pad(torch.stack([*words.values()]).sum(0) > 0, (0, 1))
        tokens = self.words.tokens
        starts = detail_starts(batch, [len(row) for row in prefix.sequences], lengths)
        width = copies.labels.shape[1]
        targets = torch.zeros(len(batch.ids), width, width, dtype=torch.bool, device=device)
        naming = torch.zeros(len(batch.ids), width, dtype=torch.bool, device=device)
        for row, (image, sample) in enumerate(zip(batch.image_index, batch.sample_index, strict=True)):
            start, length = starts[row], lengths[row]
            ids, labels = batch.prompts[sample], batch.labels[sample]
            hole = int((ids == IMAGE_TOKEN_INDEX).nonzero()[0])
            question = ids[hole + 1 :][labels[hole + 1 :] == IGNORE_INDEX].to(device)
            place = torch.searchsorted(tokens, question).clamp(max=len(tokens) - 1)
            place = torch.where(tokens[place] == question, place, len(tokens))
            names = shown[image, kept[row, :length]][:, place].T
            # Behind the image's tokens, whose last is at start + length - 1.
            first = start + length
            targets[sample, first : first + len(question), start:first] = names
            naming[sample, first : first + len(question)] |= names.any(1)
        rows = copies.samples
        answering = copies.masked & self._is_content(copies)
        targets = targets[rows] | (answering[..., None] & naming[rows][:, None])
        return pointing_loss(inputs, torch.ones_like(answering), targets, heads=self.losses.pointing_heads)

    def _speak(
        self,
        batch: Batch,
        prefix: ShirgXPrefix,
        inputs: Sequence[BlockInput],
        words: Mapping[str, Tensor],
        vocabulary: Tensor,
    ) -> tuple[Tensor, Tensor]:
        lengths, kept = prefix.tokens.lengths, prefix.selection.kept
        starts = detail_starts(batch, [len(row) for row in prefix.sequences], lengths)
        spans = [
            (sample, start, start + length)
            for sample, start, length in zip(batch.sample_index, starts, lengths, strict=True)
        ]
        shown = {
            role: torch.cat(
                [
                    words[role][image, kept[row, :length]]
                    for row, (image, length) in enumerate(zip(batch.image_index, lengths, strict=True))
                ]
            )
            for role in SPOKEN
        }
        said = []
        for given in inputs:
            hidden = torch.cat([given.hidden[sample, start:end] for sample, start, end in spans])
            said.append(speaking_loss(given.block, hidden, shown, vocabulary))
        totals, counts = zip(*said, strict=True)
        return torch.stack(totals).sum(), torch.stack(counts).sum()

    def _is_content(self, copies: TwoCopies) -> Tensor:
        """(rows, positions) bool: answer tokens that say something."""
        content = copies.labels != IGNORE_INDEX
        for token in self.content_end:
            content &= copies.labels != token
        return content

    def relevant_patches(self, batch: Batch, rows: EncodedPages) -> Tensor:
        """(rows, patches) float32: where to look, half of it at the answer, half at what the question names."""
        kinds = []
        for boxes_of in (_ANSWER, _EVIDENCE):
            under = torch.stack(_under(batch, rows.dual.boxes, boxes_of)).float()
            kinds.append(under / under.sum(1, keepdim=True).clamp(min=1))
        return torch.stack(kinds).mean(0)


def _under(batch: Batch, boxes: Iterable[Tensor], boxes_of: Callable[[PageQuestion], tuple[Box, ...]]) -> list[Tensor]:
    """Per image (tokens,) bool: its tokens, at ``boxes`` (tokens, 4), on what ``boxes_of`` says of its question."""
    under = []
    for sample, row in zip(batch.sample_index, boxes, strict=True):
        question = batch.page_questions[sample]
        under.append(tokens_under(row, () if question is None else boxes_of(question)))
    return under


def drawn_pages(batch: Batch) -> list[Page]:
    """The pages behind the batch's images.

    Raises:
        ValueError: if an image is none: then nobody knows what its patches show.
    """
    pages = [page for page in batch.pages if page is not None]
    if len(pages) != len(batch.pages):
        raise ValueError(
            "reading, alignment, labeling, pointing, grounding and speaking need drawn pages; "
            "set their weights to 0 for others"
        )
    return pages
