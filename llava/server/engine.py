"""One thread that owns the model, and answers what waits in batches.

Whatever arrives while a batch is denoised joins the next one: nobody waits for a batch to fill up, and each answer is
the one that the request gets alone (padding is masked, and what draws at random goes alone).
"""

import logging
import threading
import time
from collections.abc import Hashable, Mapping, Sequence

from llava.image_io import Picture
from llava.inference.answer import EncodedImage
from llava.inference.batching import BATCH_POSITIONS, cut_batches
from llava.inference.dialog import PreparedDialog, Turn, answer_dialogs, check_dialog, prepare_dialog
from llava.inference.picture import pdf_long_side
from llava.inference.session import Session
from llava.model.language_model.diffusion.progress import DenoisingStep
from llava.server.cache import PageCache
from llava.server.config import ServerConfig
from llava.server.errors import RequestError, internal, queue_is_full, shutting_down
from llava.server.fair import FairQueue
from llava.server.files import PageFile
from llava.server.jobs import Asked, Draft, Job, Way
from llava.server.metrics import Metrics

logger = logging.getLogger(__name__)

_FORGET = 0.8
"""How much of the mean time of an answer stays when a new one is known."""


class _Abandoned(Exception):
    """Nobody waits for any answer of the batch."""


class Engine:
    """Takes jobs from any thread, and answers them on its own.

    Args:
        session: the model. Nobody else may use it while the engine runs.
        stock: the same with LaViDa's own encoding, to compare with.
    """

    def __init__(
        self, session: Session, config: ServerConfig, metrics: Metrics, *, stock: Session | None = None
    ) -> None:
        self.config, self.metrics = config, metrics
        self.sessions: Mapping[Way, Session] = (
            {"model": session} if stock is None else {"model": session, "stock": stock}
        )
        self.cache = PageCache(
            int(config.cache_megabytes * 2**20), lambda found: metrics.pages.labels(str(found).lower()).inc()
        )
        self._queue: FairQueue[Job] = FairQueue()
        self._changed = threading.Condition()
        self._closing = False
        self._places = 0
        self._mean_seconds = 1.0
        self._thread = threading.Thread(target=self._run, name="lavida-engine", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self, seconds: float | None = None) -> None:
        """Take nothing new, answer what waits, and end; not later than ``seconds`` from now."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether it takes what is new."""
        return self.alive and not self._closing

    def enter(self) -> None:
        """Take one of the places; whoever does must ``leave``.

        Raises:
            RequestError: if there is none, or the server is being shut down.
        """
        with self._changed:
            if self._closing:
                raise shutting_down()
            if self._places >= self.config.queue:
                raise queue_is_full(self.config.queue, self._places * self._mean_seconds)
            self._places += 1
            self.metrics.in_flight.set(self._places)

    def leave(self) -> None:
        """Give the place back."""
        with self._changed:
            self._places -= 1
            self.metrics.in_flight.set(self._places)

    def submit(self, job: Job, client: Hashable) -> None:
        """Let a job wait for its turn."""
        with self._changed:
            self._queue.put(client, job)
            self._changed.notify()

    def check(self, asked: Asked) -> None:
        """Refuse what cannot be asked, by its words alone; may be called on any thread.

        Raises:
            RequestError: saying what is wrong.
        """
        session = self.sessions[asked.way]
        try:
            check_dialog(
                session,
                [(turn.role, turn.words) for turn in asked.turns],
                pages=len(asked.files),
                answer_tokens=asked.decoding.max_new_tokens,
                system=asked.system,
            )
        except ValueError as error:
            raise RequestError(str(error), param="messages") from error

    def draw(self, asked: Asked) -> dict[Hashable, Picture]:
        """The pictures of a request, without those that are encoded already; may be called on any thread.

        Raises:
            RequestError: if one cannot be read, or all together are too large.
        """
        missing = {file.key: file for file in asked.files if self._page_key(asked.way, file) not in self.cache}
        most = self.config.megapixels * 1e6
        try:
            if sum(file.pixels() for file in missing.values()) > most:
                raise RequestError(
                    f"the pages have more than {self.config.megapixels:g} million pixels; scale them down",
                    status=413,
                    code="too_many_pixels",
                    param="messages",
                )
            return {key: self._draw(asked.way, file) for key, file in missing.items()}
        except ValueError as error:
            raise RequestError(str(error), code="invalid_image", param="messages") from error

    def _draw(self, way: Way, file: PageFile) -> Picture:
        views = getattr(self.sessions[way].model.config, "image_view", None)
        return file.draw(long_side=pdf_long_side(views), limits=self.config.page_limits)

    @staticmethod
    def _page_key(way: Way, file: PageFile) -> Hashable:
        return way, file.key

    def _run(self) -> None:
        while True:
            with self._changed:
                while not len(self._queue) and not self._closing:
                    self._changed.wait()
                if not len(self._queue):
                    return
                jobs = self._queue.take(self.config.batch, lambda job: job.asked.batch_key)
            try:
                self._answer(jobs)
            except Exception:  # the thread must outlive whatever one batch does
                logger.exception("a batch of %d failed", len(jobs))
                self.metrics.failures.inc()
                for job in jobs:
                    job.tell(internal())

    def _answer(self, jobs: Sequence[Job]) -> None:
        prepared: list[tuple[Job, PreparedDialog]] = []
        for job in jobs:
            if job.abandoned:
                self.metrics.abandoned.inc()
                continue
            try:
                prepared.append((job, self._prepare(job)))
            except ValueError as error:
                job.tell(RequestError(str(error), param="messages"))
            except Exception:
                logger.exception("a request failed")
                self.metrics.failures.inc()
                job.tell(internal())
        if not prepared:
            return
        answer = prepared[0][0].asked.decoding.max_new_tokens
        for batch in cut_batches([dialog.length for _, dialog in prepared], answer, BATCH_POSITIONS):
            self._denoise([prepared[place] for place in batch])

    def _prepare(self, job: Job) -> PreparedDialog:
        asked = job.asked
        session = self.sessions[asked.way]

        def encoded(part: str | PageFile) -> str | EncodedImage:
            return part if isinstance(part, str) else self._encode(asked.way, part, job.pictures)

        turns = [Turn(role=turn.role, parts=tuple(map(encoded, turn.parts))) for turn in asked.turns]
        job.pictures = {}
        dialog = prepare_dialog(session, turns, system=asked.system)
        session.model.check_context(dialog.length, asked.decoding.max_new_tokens)
        return dialog

    def _encode(self, way: Way, file: PageFile, pictures: Mapping[Hashable, Picture]) -> EncodedImage:
        def encode() -> EncodedImage:
            # It may have been in the cache when the others were drawn.
            return self.sessions[way].encode(pictures.get(file.key) or self._draw(way, file))

        page = self.cache.get(self._page_key(way, file), encode)
        self.metrics.cache_bytes.set(self.cache.num_bytes)
        return page

    def _denoise(self, batch: Sequence[tuple[Job, PreparedDialog]]) -> None:
        batch = [(job, dialog) for job, dialog in batch if not self._left(job)]
        if not batch:
            return
        asked = batch[0][0].asked
        streams = any(job.asked.streams for job, _ in batch)

        def watch(step: DenoisingStep) -> None:
            if all(job.abandoned for job, _ in batch):
                raise _Abandoned
            if streams:
                for (job, _), tokens in zip(batch, step.tokens.tolist(), strict=True):
                    if job.asked.streams:
                        job.tell(Draft(tokens=tuple(tokens), step=step.index))

        start = time.monotonic()
        try:
            replies = answer_dialogs(
                self.sessions[asked.way],
                [dialog for _, dialog in batch],
                decoding=asked.decoding,
                seed=asked.seed,
                on_step=watch,
            )
        except _Abandoned:
            self.metrics.abandoned.inc(len(batch))
            return
        except Exception as error:
            if len(batch) > 1:
                # What one of them cannot have must not be the others' loss.
                logger.warning("a batch of %d failed (%s); each goes alone", len(batch), error)
                for single in batch:
                    self._denoise([single])
                return
            logger.exception("a request failed")
            self.metrics.failures.inc()
            batch[0][0].tell(internal())
            return
        self.metrics.batch_size.observe(len(batch))
        each = (time.monotonic() - start) / len(batch)
        self._mean_seconds = _FORGET * self._mean_seconds + (1 - _FORGET) * each
        for (job, _), reply in zip(batch, replies, strict=True):
            self.metrics.seconds.observe(time.monotonic() - job.born)
            self.metrics.forwards.inc(reply.forwards)
            for kind, count in (
                ("prompt", reply.prompt_tokens),
                ("image", reply.image_tokens),
                ("completion", reply.told),
            ):
                self.metrics.tokens.labels(kind).inc(count)
            job.tell(reply)

    def _left(self, job: Job) -> bool:
        if job.abandoned:
            self.metrics.abandoned.inc()
        return job.abandoned
