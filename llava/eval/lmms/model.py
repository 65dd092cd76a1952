"""The model class that lmms-eval runs; this module needs lmms-eval (``pip install lmms-eval``)."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import Any, NoReturn

import torch
from accelerate import PartialState
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from PIL import Image
from tqdm import tqdm

from llava.eval.lmms.arguments import Generation, LmmsSettings, only_image, process_device
from llava.inference.session import Session
from llava.inference.words import check_question

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One request."""

    question: str
    generation: Generation
    open_image: Callable[[], Image.Image]
    """A task may have thousands of pages, so a page is read when its batch is due."""
    repeat: int
    """How often the same was asked before in these requests (``--repeats``)."""


class LavidaLmms(lmms):
    """LaViDa with or without SHIRG-X as a model of lmms-eval.

    Args:
        arguments: as ``LmmsSettings``.

    Raises:
        FileNotFoundError, ValueError: as ``LmmsSettings`` and ``Session.load``; for a device that several processes
            would share.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.settings = LmmsSettings.from_dict(arguments)
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
        return cls(**vars(LmmsSettings.parse(arg_string, **options)))

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """The answers to questions about one image each, in the order of the requests.

        What is drawn at random is denoised one question at a time, so that an answer depends on its question, the seed
        and how often it was asked before, and not on its batch.

        Raises:
            ValueError: for a request without an image or with several, a question that cannot be used, or one too long
                for the model's context.
        """
        asked = self._read(requests)
        for ignored in sorted({name for each in asked for name in each.generation.ignored}):
            _log.warning("the task's generation setting %s has no effect on this model", ignored)
        answers: list[str] = []
        with tqdm(total=len(asked), desc="lavida", disable=self.rank != 0) as progress:
            for batch in _batches(asked, self.settings.batch_size):
                answers += self._answer(batch)
                progress.update(len(batch))
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

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> NoReturn:
        """Not provided.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "lavida answers single questions and holds no conversation; choose tasks of output_type generate_until"
        )

    def clean(self) -> None:
        """Let go of the weights: a judge may need their memory. The model answers nothing afterwards."""
        self.session = None
        super().clean()

    def _read(self, requests: Sequence[Instance]) -> list[_Asked]:
        seen: Counter[tuple[Any, ...]] = Counter()
        asked = []
        for request in requests:
            question, generation, doc_to_visual, document, task, split = request.args
            place = (task, split, document, question)
            asked.append(
                _Asked(
                    question=question,
                    generation=Generation.of(generation, self.settings.tokens, self.settings.decoding),
                    open_image=partial(self._open_image, doc_to_visual, task, split, document),
                    repeat=seen[place],
                )
            )
            seen[place] += 1
        return asked

    def _open_image(
        self, doc_to_visual: Callable[[Any], Sequence[object] | None], task: str, split: str, document: int
    ) -> Image.Image:
        where = f"document {document} of {task} ({split})"
        return only_image(doc_to_visual(self.task_dict[task][split][document]), where)

    @torch.no_grad()
    def _answer(self, batch: Sequence[_Asked]) -> list[str]:
        session = self.session
        if session is None:
            raise ValueError("this model has been cleaned, so its weights are gone; create it anew")
        prompts, prefixes = [], []
        for asked in batch:
            question = check_question(asked.question)
            session.check_words(question)
            prompts.append(session.prompt(question)[0])
            prefixes.append(session.select(session.encode(asked.open_image()), question).tokens)
        first = batch[0]
        done = session.model.denoise(
            session.model.splice(prompts, prefixes),
            first.generation.decoding,
            generator=torch.Generator(session.model.device).manual_seed(self.settings.seed + first.repeat),
        )
        rows = zip(batch, done.tokens.tolist(), strict=True)
        return [asked.generation.cut(session.decode(row).strip()) for asked, row in rows]


def _batches(asked: Sequence[_Asked], size: int) -> Iterator[list[_Asked]]:
    """Neighbors that are denoised alike, at most ``size`` of them, and one by one what is drawn at random."""
    for _, group in groupby(asked, key=lambda each: each.generation.decoding):
        rest = iter(group)
        while batch := list(islice(rest, size)):
            if batch[0].generation.random:
                yield from ([each] for each in batch)
            else:
                yield batch
