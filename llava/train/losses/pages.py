"""What drawn pages can teach beyond their answers, since the generator knows everything about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from lavida_shirg_integration import EncodedPages, ShirgXPrefix
from llava.constants import IGNORE_INDEX
from llava.data.batch import Batch, detail_starts
from llava.data.page_truth import PageTruth, shown_targets, stacked_labels
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion
from llava.model.splice import image_places
from llava.pages import Box, PageQuestion
from llava.train.losses.config import LossConfig, Parts
from llava.train.losses.labeling import labeling_loss
from llava.train.losses.objective import TwoCopies
from llava.train.losses.pointing import BlockInput, place_in_rows, pointing_loss, tokens_under
from llava.train.losses.reading import ReadingHeads, WordTable, alignment_loss, reading_loss
from llava.train.losses.speaking import SPOKEN, WordPlaces, speaking_loss
from shirg.transfer import to_device

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
        targets = shown_targets(drawn_truths(batch), device)
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

    def label(self, parts: Parts, batch: Batch, layer: SiglipEncoderLayer, hidden: Tensor) -> None:
        """Add where the tower's last layer, given ``hidden``, should look: from every patch to its labels."""
        belongs, printed = stacked_labels(drawn_truths(batch), hidden.device)
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
        drawn_truths(batch)
        at = _Places.of(batch, prefix, copies.labels)
        if losses.pointing:
            given = [inputs[layer] for layer in losses.pointing_layers]
            parts["pointing"] = self._point(batch, prefix, copies, given, at)
        if losses.grounding:
            given = [inputs[layer] for layer in losses.grounding_layers]
            parts["grounding"] = self._ground(batch, copies, given, words, at)
        if losses.speaking:
            given = [inputs[layer] for layer in losses.pointing_layers]
            parts["speaking"] = self._speak(given, words, head[self.words.tokens], at)

    def _point(
        self, batch: Batch, prefix: ShirgXPrefix, copies: TwoCopies, inputs: Sequence[BlockInput], at: "_Places"
    ) -> tuple[Tensor, Tensor]:
        under = _under(batch, prefix.tokens.boxes, _ANSWER)
        shape = (len(batch.ids), at.width)
        targets = place_in_rows(under, at.samples, at.detail, shape=shape)[copies.samples]
        content, heads = self._is_content(copies), self.losses.pointing_heads
        if not self.losses.speaking:
            return pointing_loss(inputs, copies.masked & content, targets, heads=heads)
        places = self.places(copies.labels, content)
        asking = copies.masked & (places >= 0) & (places < heads)
        return pointing_loss(inputs, asking, targets, heads=heads, own_head=places)

    def _ground(
        self,
        batch: Batch,
        copies: TwoCopies,
        inputs: Sequence[BlockInput],
        words: Mapping[str, Tensor],
        at: "_Places",
    ) -> tuple[Tensor, Tensor]:
        # One more column, for words that name nothing.
        shown = F.pad(torch.stack([*words.values()]).sum(0) > 0, (0, 1))
        questions = [_behind_image(batch.prompts[sample], batch.labels[sample]) for sample in batch.sample_index]
        asked = to_device(pad_sequence(questions, batch_first=True, padding_value=-1), shown.device)
        tokens = self.words.tokens
        column = torch.searchsorted(tokens, asked).clamp(max=len(tokens) - 1)
        column = torch.where(tokens[column] == asked, column, len(tokens))
        # (images, words of the question, detail tokens)
        names = shown[at.images[:, None], at.kept].transpose(1, 2)
        names = names.gather(1, column[..., None].expand(-1, -1, names.shape[2]))
        # Behind the image's tokens; padding stands outside of the row.
        word = at.ends[:, None] + torch.arange(asked.shape[1], device=asked.device)
        word = torch.where(asked >= 0, word, at.width)
        targets = names.new_zeros(len(batch.ids), at.width + 1, at.width + 1)
        targets[at.samples[:, None, None], word[..., None], at.detail[:, None]] = names
        targets = targets[:, :-1, :-1]
        naming = targets.any(2)
        rows = copies.samples
        answering = copies.masked & self._is_content(copies)
        targets = targets[rows] | (answering[..., None] & naming[rows][:, None])
        return pointing_loss(inputs, torch.ones_like(answering), targets, heads=self.losses.pointing_heads)

    def _speak(
        self,
        inputs: Sequence[BlockInput],
        words: Mapping[str, Tensor],
        vocabulary: Tensor,
        at: "_Places",
    ) -> tuple[Tensor, Tensor]:
        rows, tokens = at.real
        samples, places = at.samples[rows], at.detail[rows, tokens]
        shown = {role: words[role][at.images[rows], at.kept[rows, tokens]] for role in SPOKEN}
        said = [speaking_loss(given.block, given.hidden[samples, places], shown, vocabulary) for given in inputs]
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
            under = _under(batch, rows.dual.boxes, boxes_of).float()
            kinds.append(under / under.sum(1, keepdim=True).clamp(min=1))
        return torch.stack(kinds).mean(0)


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where the detail tokens of all images stand in the prompts. All on the device."""

    samples: Tensor
    """(images,) int64: whose prompt."""
    images: Tensor
    """(images,) int64: which view of the batch is shown."""
    detail: Tensor
    """(images, tokens) int64 positions; ``width`` for padding."""
    kept: Tensor
    """(images, tokens) int64: the patches they are; 0 for padding."""
    ends: Tensor
    """(images,) int64: the first position behind each image."""
    real: tuple[Tensor, Tensor]
    """(all tokens,) int64 each: image and number of every token that is no padding."""
    width: int
    """Positions of a row."""

    @classmethod
    def of(cls, batch: Batch, prefix: ShirgXPrefix, labels: Tensor) -> "_Places":
        """In rows of as many positions as ``labels`` (rows, positions)."""
        lengths, width = prefix.tokens.lengths, labels.shape[1]
        starts = detail_starts(batch, [len(row) for row in prefix.sequences], lengths)
        numbers = to_device(
            torch.tensor([batch.sample_index, batch.image_index, starts, lengths], dtype=torch.int64), labels.device
        )
        samples, images, first, count = numbers
        padding = torch.arange(prefix.tokens.boxes.shape[1]) >= torch.tensor(lengths)[:, None]
        real = to_device((~padding).nonzero().T, labels.device)
        tokens = torch.arange(prefix.tokens.boxes.shape[1], device=labels.device)
        detail = torch.where(tokens < count[:, None], first[:, None] + tokens, width)
        kept = prefix.selection.kept.clamp(min=0)
        return cls(
            samples=samples,
            images=images,
            detail=detail,
            kept=kept,
            ends=first + count,
            real=(real[0], real[1]),
            width=width,
        )


def _behind_image(ids: Tensor, labels: Tensor) -> Tensor:
    """The unlabeled ids behind the image of a prompt: its question."""
    behind = image_places(ids)[0] + 1
    return ids[behind:][labels[behind:] == IGNORE_INDEX]


def _under(batch: Batch, boxes: Tensor, boxes_of: Callable[[PageQuestion], tuple[Box, ...]]) -> Tensor:
    """(images, tokens) bool: tokens, at ``boxes`` (images, tokens, 4), on what ``boxes_of`` says of their question."""
    questions = [batch.page_questions[sample] for sample in batch.sample_index]
    return tokens_under(boxes, [() if question is None else boxes_of(question) for question in questions])


def drawn_truths(batch: Batch) -> list[PageTruth]:
    """What the pages behind the batch's images know.

    Raises:
        ValueError: if an image is no drawn page: then nobody knows what its patches show.
    """
    truths = [truth for truth in batch.truths if truth is not None]
    if len(truths) != len(batch.truths):
        raise ValueError(
            "reading, alignment, labeling, pointing, grounding and speaking need drawn pages; "
            "set their weights to 0 for others"
        )
    return truths
