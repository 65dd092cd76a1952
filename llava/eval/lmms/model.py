"""The model classes that lmms-eval runs; this module needs lmms-eval (``pip install lmms-eval``).

Both ask conversations. The simple class makes one of the images and the text that a task gives, the chat class is given
one, which may have several turns with images between the words.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NoReturn

from accelerate import PartialState
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from lmms_eval.protocol import ChatMessages
from tqdm import tqdm

from llava.eval.harness.dialogs import Message, prepare_messages
from llava.eval.harness.settings import HarnessSettings
from llava.eval.lmms.arguments import Generation, process_device
from llava.eval.lmms.asked import Asked, Tally, cut_alike, part_of
from llava.inference.dialog import Reply, answer_dialogs
from llava.inference.session import Session

_log = logging.getLogger(__name__)


class LavidaLmms(lmms):
    """LaViDa with or without SHIRG-X as a model of lmms-eval; the two classes below read their requests for it.

    Args:
        arguments: as ``HarnessSettings``.

    Raises:
        FileNotFoundError, ValueError: as ``HarnessSettings`` and ``Session.load``; for a device that several processes
            would share.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.settings = HarnessSettings.from_dict(arguments)
        processes = PartialState()
        self._rank, self._world_size = processes.process_index, processes.num_processes
        self.session: Session | None = Session.open(
            self.settings.checkpoint(),
            device=process_device(self.settings.device, processes.num_processes, str(processes.device)),
            dtype=self.settings.dtype,
        )
        self.device = self.session.model.device

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: Mapping[str, Any] | None = None
    ) -> "LavidaLmms":
        """The model from ``--model_args``; its arguments count before lmms-eval's own options.

        Raises:
            FileNotFoundError, ValueError: as the class.
        """
        options = {name: value for name, value in (additional_config or {}).items() if value is not None}
        if "max_batch_size" in options:
            raise ValueError("--max_batch_size belongs to an automatic batch size; give --batch_size a number instead")
        return cls(**vars(HarnessSettings.parse(arg_string, **options)))

    def read_request(self, request: Instance) -> tuple[Mapping[str, Any], Callable[[], list[Message]], str]:
        """Generation settings, the conversation once it is due, and what messages call it."""
        raise NotImplementedError

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """The answers in the order of the requests, each with its tokens counted, and lmms-eval's throughput metrics.

        What is drawn at random is denoised one question at a time, so that an answer depends on its question, the seed
        and how often it was asked before, and not on its batch.

        Raises:
            ValueError: for a conversation that holds anything but text and images, cannot be used, or is too long for
                the model's context.
        """
        asked = self._read(requests)
        answers: list[GenerationResult] = []
        tally = Tally()
        with tqdm(total=len(asked), desc="lavida", disable=self.rank != 0) as progress:
            for batch in cut_alike(asked, self.settings.batch_size):
                answers += self._answer(batch, tally)
                progress.update(len(batch))
        if asked:
            log_metrics(**tally.metrics(self.rank))
        return answers

    def loglikelihood(self, requests: Sequence[Instance]) -> NoReturn:
        """Not provided.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "lavida gives no log-likelihoods: masked diffusion fills in all words of an answer in the order of its "
            "confidence, and no product over words from left to right is the likelihood of that; choose tasks of "
            "output_type generate_until, such as chartqa, docvqa_val or infovqa_val"
        )

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[list[str]]:
        """Not provided by the simple class.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "the simple class of lavida answers single questions; leave --force_simple out, or choose tasks of "
            "output_type generate_until"
        )

    def clean(self) -> None:
        """Let go of the weights: a judge may need their memory. The model answers nothing afterwards."""
        self.session = None
        super().clean()

    def _read(self, requests: Sequence[Instance]) -> list[Asked]:
        seen: Counter[tuple[Any, ...]] = Counter()
        asked = []
        for request in requests:
            values, open_messages, where = self.read_request(request)
            generation = Generation.of(values, self.settings.tokens, self.settings.decoding)
            place = (where, request.args[0])
            asked.append(Asked(generation=generation, open_messages=open_messages, where=where, repeat=seen[place]))
            seen[place] += 1
        for ignored in sorted({name for each in asked for name in each.generation.ignored}):
            _log.warning("the task's generation setting %s has no effect on this model", ignored)
        return asked

    def _answer(self, batch: Sequence[Asked], tally: Tally) -> list[GenerationResult]:
        session = self.session
        if session is None:
            raise ValueError("this model has been cleaned, so its weights are gone; create it anew")
        first = batch[0]
        decoding = first.generation.decoding
        dialogs = [
            prepare_messages(session, asked.open_messages(), answer_tokens=decoding.max_new_tokens, where=asked.where)
            for asked in batch
        ]
        replies = answer_dialogs(session, dialogs, decoding=decoding, seed=self.settings.seed + first.repeat)
        tally.add(replies)
        return [_result(asked, reply) for asked, reply in zip(batch, replies, strict=True)]


class LavidaSimple(LavidaLmms):
    """What ``--force_simple`` asks for: a text and its images, which go before it."""

    def read_request(self, request: Instance) -> tuple[Mapping[str, Any], Callable[[], list[Message]], str]:
        """As of the base."""
        question, generation, doc_to_visual, document, task, split = request.args

        def open_messages() -> list[Message]:
            visuals = doc_to_visual(self.task_dict[task][split][document]) or []
            return [("user", [*map(part_of, visuals), ("text", question)])]

        return generation, open_messages, _where(document, task, split)


class LavidaChat(LavidaLmms):
    """What lmms-eval takes by itself: a conversation, its images between the words."""

    is_simple = False

    def read_request(self, request: Instance) -> tuple[Mapping[str, Any], Callable[[], list[Message]], str]:
        """As of the base."""
        _, doc_to_messages, generation, document, task, split = request.args

        def open_messages() -> list[Message]:
            return _messages(doc_to_messages(self.task_dict[task][split][document]))

        return generation, open_messages, _where(document, task, split)

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[list[str]]:
        """The answers of every round, one list for each request. A task asks the next round when it knows the answers
        to the last; a round holds what its task puts into it, and nothing of the rounds before by itself.

        Raises:
            ValueError: as ``generate_until``.
        """
        tally = Tally()
        answers = [
            self._answer_rounds(request, asked, tally)
            for request, asked in zip(
                tqdm(requests, "lavida", disable=self.rank != 0), self._read(requests), strict=True
            )
        ]
        if answers:
            log_metrics(**tally.metrics(self.rank))
        return answers

    def _answer_rounds(self, request: Instance, asked: Asked, tally: Tally) -> list[str]:
        _, doc_to_messages, _, document, task, split = request.args
        shown = self.task_dict[task][split][document]
        said: list[str] = []
        told = None
        for following in count(1):
            said += [result.text for result in self._answer([asked], tally)]
            # As lmms_eval.api.task.ConfigurableMessagesTask answers; a task without rounds gives bare messages.
            payload = doc_to_messages(shown, round_idx=following, previous_output=list(said), previous_round_info=told)
            if not isinstance(payload, tuple):
                return said
            messages, ended, outputs, told = payload
            said = said if outputs is None else list(outputs)
            if ended:
                return said
            asked = asked.saying(_messages(messages))
        raise AssertionError  # count() has no end


def _messages(given: Any) -> list[Message]:
    read = ChatMessages(messages=given).messages
    return [
        (
            message.role,
            [(part.type, part.text if part.type == "text" else part.url) for part in message.content],
        )
        for message in read
    ]


def _where(document: int, task: str, split: str) -> str:
    return f"document {document} of {task} ({split})"


def _result(asked: Asked, reply: Reply) -> GenerationResult:
    return GenerationResult(
        text=asked.generation.cut(reply.text),
        token_counts=TokenCounts(input_tokens=reply.prompt_tokens, output_tokens=reply.told),
    )
