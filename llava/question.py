"""The question of a prompt: the text of the last user turn, without template words, image placeholders or special ids.

Token selection reads the question and nothing else of the prompt; the answer never reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from transformers import PretrainedConfig, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question as token ids, and as text when that is known."""

    ids: tuple[int, ...]
    text: str | None = None

    @classmethod
    def from_text(cls, text: str, tokenizer: PreTrainedTokenizerBase) -> Question:
        """A question given in words.

        Raises:
            ValueError: if the text is empty.
        """
        ids = tuple(tokenizer(text.strip(), add_special_tokens=False).input_ids)
        if not ids:
            raise ValueError("the question is empty; ask something")
        return cls(ids=ids, text=text.strip())


@dataclass(frozen=True, kw_only=True)
class PromptIds:
    """The ids by which the turns of a prompt are found."""

    start_header: int
    end_header: int
    end_of_turn: int
    user_role: tuple[int, ...] | None = None
    """Ids of the word ``user``; they depend on the tokenizer."""
    ignored: frozenset[int] = frozenset()
    """Special ids and line breaks, which carry no question."""

    @classmethod
    def from_config(cls, config: PretrainedConfig) -> PromptIds:
        return cls(
            start_header=config.start_header_id, end_header=config.end_header_id, end_of_turn=config.eot_token_id
        )

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> PromptIds:
        """The same ids, and those that only the tokenizer knows."""

        def ids(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(text, add_special_tokens=False).input_ids)

        ignored = {*tokenizer.all_special_ids, *ids("\n"), *ids("\n\n")}
        return replace(self, user_role=ids("user"), ignored=frozenset(ignored))

    def cut_question(self, ids: Sequence[int]) -> Question | None:
        """The last user turn of a prompt's ids; None if there is none, or nothing but template words in it.

        Raises:
            ValueError: if the ids of the word ``user`` are not known.
        """
        if self.user_role is None:
            raise ValueError(
                "the question cannot be cut out of the ids without a tokenizer; load with load_pretrained_model, or "
                "pass questions="
            )
        found: tuple[int, ...] = ()
        for role, content in self._turns(ids):
            if role == self.user_role:
                found = tuple(token for token in content if token >= 0 and token not in self.ignored)
        return Question(ids=found) if found else None

    def _turns(self, ids: Sequence[int]) -> list[tuple[tuple[int, ...], list[int]]]:
        turns: list[tuple[tuple[int, ...], list[int]]] = []
        header: list[int] | None = None
        for token in ids:
            if token == self.start_header:
                header = []
            elif token == self.end_header and header is not None:
                turns.append((tuple(header), []))
                header = None
            elif header is not None:
                header.append(token)
            elif token == self.end_of_turn:
                turns.append(((), []))
            elif turns:
                turns[-1][1].append(token)
        return turns


def special_ids_of(tokenizer: PreTrainedTokenizerBase, words: Mapping[str, str]) -> dict[str, int]:
    """Special ids under the config's names, as far as the tokenizer has their ``words``."""
    vocabulary = tokenizer.get_vocab()
    return {name: vocabulary[word] for name, word in words.items() if word in vocabulary}
