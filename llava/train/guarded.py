"""transformers' Trainer that ends a run rather than going on with one that is lost: steps that are no numbers, a full
disk, a damaged checkpoint, and a scheduler that wants the machine back.
"""

import logging
import math
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import rotate_checkpoints

from llava.train.checkpoints import UNFINISHED, put_in_place, step_of, whole_checkpoints
from llava.train.ending import SAVED, RunEndedError
from llava.train.pace import Pace, append_log, cut_log

logger = logging.getLogger(__name__)

MAX_BAD_STEPS = 3
"""Steps in a row whose loss or gradient is no number, after which a run ends."""
_GRACE = 60
"""Seconds that a data worker lives on after it was told to end, so that its trainer can finish a step and save."""


class GuardedTrainer(Trainer):
    """Looks at every step once, where its gradient's norm is known, and writes checkpoints whole or not at all.

    A step whose loss or gradient is no number changes no weight, except with DeepSpeed, which has taken the step by
    then: there the first one ends the run. SIGTERM ends it after the step it finds, saved, with the code ``SAVED``.

    Args:
        max_bad_steps: steps in a row that are no numbers, after which the run ends.

    Raises:
        RunEndedError: when training, as described.
        ValueError: when training, if the checkpoint to resume from is damaged or not complete.
    """

    def __init__(self, *args: Any, max_bad_steps: int = MAX_BAD_STEPS, **options: Any) -> None:
        super().__init__(*args, **options)
        self.max_bad_steps = max_bad_steps
        self.num_bad_steps = 0
        self._bad_in_a_row = 0
        self._lost: Tensor | None = None
        self._told_to_end = self._ending = self._saving = False
        self.pace = Pace()

    def train(self, resume_from_checkpoint: str | bool | None = None, **options: Any) -> Any:
        begun = 0
        if isinstance(resume_from_checkpoint, str):
            self._check_complete(Path(resume_from_checkpoint))
            begun = step_of(Path(resume_from_checkpoint))
        if self.args.should_save:
            cut_log(self._out, begun)
        self.pace.begin(begun)
        with self._ends_on_sigterm():
            try:
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **options)
            except RunEndedError:
                # What reports, such as TensorBoard, has yet to write its last numbers.
                self.callback_handler.on_train_end(self.args, self.state, self.control)
                raise

    def count(self, inputs: Mapping[str, Any]) -> dict[str, int]:
        """What a batch holds, by names that the log tells the rates of."""
        return {"samples": len(next(iter(inputs.values())))}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            names, counts = list(self.pace.counts), torch.tensor([*self.pace.counts.values()], dtype=torch.float32)
            if self.accelerator.num_processes > 1:
                counts = self.accelerator.reduce(counts.to(self.args.device), reduction="sum")
            seen = dict(zip(names, counts.tolist(), strict=True))
            logs |= self._group_rates(logs) | self.pace.look(seen, self.state.global_step, self.state.max_steps)
            if self.num_bad_steps:
                logs["bad_steps"] = self.num_bad_steps
        super().log(logs, start_time)
        if self.is_world_process_zero():
            append_log(self._out, self.state.log_history[-1])

    def _group_rates(self, logs: Mapping[str, float]) -> dict[str, float]:
        """The learning rate of every named group, which the schedule scales like the first one's."""
        groups = [group for group in getattr(self.optimizer, "param_groups", ()) if group.get("initial_lr")]
        if not groups or "learning_rate" not in logs:
            return {}
        scale = logs["learning_rate"] / groups[0]["initial_lr"]
        named = {group["name"].removesuffix("_no_decay"): group for group in groups if "name" in group}
        return {f"learning_rate_{name}": group["initial_lr"] * scale for name, group in named.items()}

    # Steps that are no numbers

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        self.pace.counts.update(self.count(inputs))
        loss = super().training_step(model, inputs, num_items_in_batch)
        bad = ~loss.isfinite()
        self._lost = bad if self._lost is None else self._lost | bad
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        assert self._lost is not None
        known = torch.as_tensor(0.0 if norm is None else norm, device=self._lost.device)
        told = torch.tensor(float(self._told_to_end), device=self._lost.device)
        flags = torch.stack([(self._lost | ~known.isfinite()).float(), told])
        if self.accelerator.num_processes > 1:  # all of them end, or none
            flags = self.accelerator.reduce(flags, reduction="sum")
        bad, ending = flags.tolist()
        self._lost, self._ending = None, ending > 0
        if bad:
            self._take_no_step(model, float(known))
        else:
            self._bad_in_a_row = 0
        return norm

    def _take_no_step(self, model: nn.Module, norm: float) -> None:
        self.num_bad_steps += 1
        self._bad_in_a_row += 1
        step = self.state.global_step + 1
        what = "the loss" if math.isfinite(norm) else f"gradient norm {norm:g}"
        limit = 1 if self.is_deepspeed_enabled else self.max_bad_steps
        if self._bad_in_a_row < limit:
            logger.warning("step %d is no number (%s) and changes no weight", step, what)
            model.zero_grad()
            return
        first = step - self._bad_in_a_row + 1
        steps = f"step {first}" if first == step else f"steps {first} to {step}"
        raise RunEndedError(
            f"{steps} {'is no number' if first == step else 'are no numbers'} ({what}), and the run has ended; "
            f"{self._last_good(first)}; lower trainable: learning_rates or raise trainer: warmup_steps, or look for "
            "numbers in the data that are none"
        )

    def _last_good(self, first_bad: int) -> str:
        """What may be resumed from, when steps from ``first_bad`` on were no numbers."""
        whole = whole_checkpoints(self._out)
        # The weights that a step failed with may be what is wrong.
        vouched = [place for place in whole if step_of(place) < first_bad - 1]
        doubtful = [place for place in whole if step_of(place) >= first_bad - 1]
        if not whole:
            return "no checkpoint had been written yet"
        doubt = f"{doubtful[-1]} holds the weights that failed; remove it to resume before it" if doubtful else ""
        good = f"the last good checkpoint is {vouched[-1]}" if vouched else "there is no checkpoint before it"
        return f"{good} ({doubt})" if doubt else good

    # Checkpoints

    @property
    def _out(self) -> Path:
        return Path(self.args.output_dir)

    def _maybe_log_save_evaluate(self, *args: Any, **options: Any) -> None:
        if self._ending:
            self.control.should_save, self.control.should_evaluate = True, False
        elif self._bad_in_a_row:  # a checkpoint that is good makes no way for a doubtful one
            self.control.should_save = False
        super()._maybe_log_save_evaluate(*args, **options)
        if self._ending:
            last = whole_checkpoints(self._out)
            saved = f"saved as {last[-1]}" if last else "with nothing to save"
            raise RunEndedError(
                f"told to end (SIGTERM), {saved} after step {self.state.global_step}; --resume goes on", SAVED
            )

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._out / UNFINISHED) if self._saving else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        step = self.state.global_step
        with self.keeps_last_checkpoint(f"the checkpoint of step {step}"):
            if self.args.should_save:
                shutil.rmtree(self._out / UNFINISHED, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self.check_finite()
            self._saving = True
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._saving = False
            if self.args.should_save:
                put_in_place(self._out, f"checkpoint-{step}")
                rotate_checkpoints(output_dir=str(self._out), save_total_limit=self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The state that marks a checkpoint as whole is written next, by one process for all.
        self.accelerator.wait_for_everyone()

    @contextmanager
    def keeps_last_checkpoint(self, what: str) -> Iterator[None]:
        """A failure to write ``what`` ends the run and names the checkpoint that is left.

        Raises:
            RunEndedError: as described.
        """
        try:
            yield
        except RunEndedError:
            raise
        except Exception as error:  # torch and safetensors each have their own for a full disk
            whole = whole_checkpoints(self._out)
            left = f"{whole[-1]} is whole, and --resume goes on from it" if whole else "no checkpoint is left"
            raise RunEndedError(
                f"{what} cannot be written to {self._out} ({' '.join(str(error).split())}); {left}; see whether the "
                "disk is full"
            ) from error

    def check_finite(self) -> None:
        """Refuse to write weights that are no numbers over a checkpoint that may be good.

        Raises:
            RunEndedError: naming the first such tensor.
        """
        for name, parameter in self.accelerator.unwrap_model(self.model).named_parameters():
            own = getattr(parameter, "ds_tensor", parameter)  # this process's part, where ZeRO-3 spreads it
            if parameter.requires_grad and not bool(own.isfinite().all()):
                raise RunEndedError(
                    f"after step {self.state.global_step}, {name} holds what is no number; nothing is written; "
                    f"{self._last_good(self.state.global_step + 1)}; lower trainable: learning_rates"
                )

    def _check_complete(self, checkpoint: Path) -> None:
        if self.is_deepspeed_enabled:
            return
        process = self.args.process_index
        rng = "rng_state.pth" if self.args.world_size == 1 else f"rng_state_{process}.pth"
        for name in ("optimizer.pt", "scheduler.pt", rng):
            if not (checkpoint / name).is_file():
                raise ValueError(f"{checkpoint} lacks {name}, and cannot be resumed from; {self._before(checkpoint)}")

    def _before(self, checkpoint: Path) -> str:
        earlier = [place for place in whole_checkpoints(self._out) if step_of(place) < step_of(checkpoint)]
        if earlier:
            return f"remove it, and --resume goes on from {earlier[-1]}"
        return "there is none before it; start again in another out"

    @contextmanager
    def _reading(self, checkpoint: str | None) -> Iterator[None]:
        try:
            yield
        except (RunEndedError, ValueError):
            raise
        except Exception as error:  # torch, pickle and safetensors each have their own
            if checkpoint is None:
                raise
            raise ValueError(
                f"{checkpoint} is damaged ({' '.join(str(error).split())[:200]}); {self._before(Path(checkpoint))}"
            ) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        with self._reading(resume_from_checkpoint):
            self._load_weights(resume_from_checkpoint, model)

    def _load_weights(self, checkpoint: str, model: nn.Module | None) -> None:
        super()._load_from_checkpoint(checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with self._reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with self._reading(checkpoint):
            super()._load_rng_state(checkpoint)

    # Signals

    @contextmanager
    def _ends_on_sigterm(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # Python takes signals there alone
            yield
            return
        before = signal.signal(signal.SIGTERM, self._note_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._told_to_end = True

    def get_train_dataloader(self) -> DataLoader:
        loader = super().get_train_dataloader()
        # Accelerate's loader has the one inside it start the workers.
        starts = getattr(loader, "base_dataloader", loader)
        if starts.num_workers:
            starts.worker_init_fn = partial(_outlive_sigterm, starts.worker_init_fn)
        return loader


def _outlive_sigterm(first: Any, worker: int) -> None:
    """Schedulers signal all processes of a run at once; a worker that died at once would take the last step along."""
    if first is not None:
        first(worker)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE))
