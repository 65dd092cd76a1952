"""What a session writes to its model and reads from it: prompts, templates and answers as ids."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import ShirgXHandle
from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.inference.answer import Answer
from llava.inference.film import Film, draw_film
from llava.inference.words import Blank, Template
from llava.mm_utils import tokenizer_image_token
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.question import Question


class Prompts:
    """Texts as ids and ids as texts, for one model and its tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    model: LavidaForMaskedDiffusion
    handle: ShirgXHandle | None
    """None for LaViDa's own encoding of images."""

    def check_question(self, question: str, answer_tokens: int) -> None:
        """Refuse a question that cannot be asked about any page, before one is looked at.

        Args:
            answer_tokens: positions of the answer.

        Raises:
            ValueError: if it holds special tokens or no words, or leaves no room for a page and the answer.
        """
        self._check_size(question)
        self.check_words(question)
        # The image's tokens take the place of one.
        prompt = len(self.prompt(question)[0]) - 1
        self.model.check_context(prompt + self.fewest_image_tokens, answer_tokens)

    def _check_size(self, text: str) -> None:
        """Refuse what cannot fit whatever its words are: a tokenizer takes seconds over a book."""
        limit = self.model.config.max_sequence_length
        # Listing the vocabulary takes longer than cutting an ordinary question.
        if len(text) > limit and len(text) > limit * max(map(len, self.tokenizer.get_vocab())):
            raise ValueError(
                f"the question has {len(text):,} characters, which take more than the {limit} positions of this model; "
                "shorten it"
            )

    @property
    def fewest_image_tokens(self) -> int:
        """How many positions any page takes at least."""
        if self.handle is None or self.handle.config.mode == "stock":
            return 1
        config = self.handle.config
        scaffold = config.scaffold_tokens if config.scaffold else 0
        # Padding may leave a page with any number of patches.
        return scaffold + (1 if config.resize == "pad" else min(config.offered))

    def decode(self, tokens: Sequence[int]) -> str:
        """The words of ids up to the first end of turn."""
        return self._text(tokens[: self._end(tokens)])

    def _end(self, tokens: Sequence[int]) -> int:
        """The place of the first end of turn, or behind the last token."""
        ends = (self.model.config.eot_token_id, self.model.config.eos_token_id)
        return next((place for place, token in enumerate(tokens) if token in ends), len(tokens))

    def count_tokens(self, tokens: Sequence[int]) -> int:
        """How many ids an answer tells: its words, and its end of turn."""
        return min(self._end(tokens) + 1, len(tokens))

    def film(self, answer: Answer) -> Film:
        """How an answer came about: what was kept of the page, and below it the words that each step settled."""
        return draw_film(answer, told=self.count_tokens(answer.tokens), decode=self._text)

    def check_words(self, text: str) -> None:
        """Refuse text that would be read as more than words.

        Raises:
            ValueError: if it holds a special token of the tokenizer, with which a text could end its own turn.
        """
        marked = {token for token, word in self.tokenizer.added_tokens_decoder.items() if word.special}
        special = marked.union(self.tokenizer.all_special_ids).intersection(self._words(text))
        if special:
            words = ", ".join(self.tokenizer.convert_ids_to_tokens(sorted(special)))
            raise ValueError(f"the text {text!r} holds the special token {words}; leave it out")

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def _words(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def prompt(self, question: str) -> tuple[Tensor, Question]:
        """The ids of a question about one image, -200 in the image's place, and what selection reads of it.

        Raises:
            ValueError: if the question holds no words.
        """
        return self.dialog_prompt([("user", f"{DEFAULT_IMAGE_TOKEN}\n{question}")], question)

    def dialog_prompt(
        self, turns: Sequence[tuple[str, str]], question: str, *, system: str | None = None
    ) -> tuple[Tensor, Question]:
        """The ids of a conversation whose next turn is the model's, and what selection reads of it: its last turn.

        Args:
            turns: (role, text) each, ``<image>`` in the place of an image.
            question: the words of the last turn.
            system: in place of LaViDa's own.

        Raises:
            ValueError: if the last turn holds no words.
        """
        conversation = self.model.config.conversation.copy()
        if system is not None:
            conversation.system = system
        for role, text in turns:
            conversation.append_message(role, text)
        conversation.append_message("assistant", None)
        ids = tokenizer_image_token(conversation.get_prompt(), self.tokenizer, return_tensors="pt")
        assert isinstance(ids, Tensor)
        cut = self.model.prompt_ids.cut_question(ids.tolist())
        if cut is None:
            raise ValueError(f"the question {question!r} holds no words; ask something")
        return ids, replace(cut, text=question)

    def draft(self, template: Template, length: int) -> tuple[Tensor, list[range]]:
        """Ids (1, length) with masks in the gaps, ended like an answer, and the positions of each piece.

        Raises:
            ValueError: if the template is longer than ``length`` or holds special tokens, or has an open gap where the
                model has no infilling token.
        """
        self.check_words(template.text)
        config = self.model.config
        ids: list[int] = []
        spans = []
        for piece in template.pieces:
            start = len(ids)
            ids += self._masks(piece) if isinstance(piece, Blank) else self._words(piece)
            spans.append(range(start, len(ids)))
        if len(ids) > length:
            raise ValueError(
                f"the template takes {len(ids)} tokens, more than the {length} of the answer; raise --tokens "
                "(max_new_tokens) or shorten it"
            )
        ending = [*self._words(config.conversation.turn_end), *[config.eos_token_id] * length]
        return torch.tensor([(ids + ending)[:length]]), spans

    def _masks(self, blank: Blank) -> list[int]:
        config = self.model.config
        masks = [config.mask_token_id] * blank.tokens
        if not blank.is_open:
            return masks
        if config.infill_token_id is None:
            raise ValueError(
                f"this model has no infilling token to close the gap [~{blank.tokens}] with; write [{blank.tokens}]"
            )
        return [*masks, config.infill_token_id]
