"""transformers' Trainer with masked diffusion's needs: noise that processes agree on, losses divided by global counts,
answers instead of a validation loss, and checkpoints of safetensors.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import TrainerControl, TrainingArguments

from llava.data.batch import Batch, collate, draw_noise
from llava.seeds import stable_seed
from llava.train.config import TrainConfig
from llava.train.export import Export
from llava.train.guarded import GuardedTrainer
from llava.train.losses.config import LossConfig
from llava.train.losses.registry import LOSSES
from llava.train.model import Draws, Parts, TrainingModel
from llava.train.muon import make_optimizer
from llava.train.validation import Validation, add_up
from llava.tuning.parameters import parameter_groups

logger = logging.getLogger(__name__)

SCHEDULER_NAME = "scheduler.pt"
"""As transformers names it, which reads it when a run is resumed."""
TRAINABLE_FILE = "trainable.safetensors"


class MaskedDiffusionTrainer(GuardedTrainer):
    """Trains a ``TrainingModel`` on batches of samples.

    A checkpoint holds what trains (``trainable.safetensors``) and the engine's state to resume from; ``best`` and
    ``final`` beside the checkpoints hold what users load.

    Args:
        validation: asks questions about held-out pages at every evaluation; None where there are none.
        export: writes what users load.
    """

    optimizer: torch.optim.Optimizer | None
    control: TrainerControl

    def __init__(
        self,
        model: TrainingModel,
        args: TrainingArguments,
        config: TrainConfig,
        dataset: Dataset,
        *,
        export: Export,
        validation: Validation | None = None,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=dataset,
            # Trainer insists on a dataset where it is to evaluate; evaluate() below brings its own.
            eval_dataset=dataset if validation is not None else None,
            data_collator=collate,
            max_bad_steps=config.max_bad_steps,
        )
        self.config = config
        self.export = export
        self.validation = validation
        self.model_accepts_loss_kwargs = True
        self.num_skipped = 0
        self._sums: Tensor | None = None
        self._by_budget: dict[int, Tensor] = {}

    # What a step is given

    def draw(self, batch: Batch) -> Draws:
        """The chance of this step: from the seed, the epoch, the step and each sample's name."""
        losses: LossConfig = self.config.losses
        seed, step = self.config.seed, self.state.global_step
        key = (seed, int(self.state.epoch or 0), step)
        times, noise = draw_noise(batch, "mask", *key)
        budgets = self.config.drawn_budgets
        generator = torch.Generator().manual_seed(stable_seed("budget", seed, step))
        budget = budgets[int(torch.randint(len(budgets), (1,), generator=generator))] if budgets else None
        model: TrainingModel = self.accelerator.unwrap_model(self.model)
        measures = (
            bool(budgets)
            and losses.weight("budget") > 0
            and losses.budget_teacher == "losses"
            and losses.denoising
            and step % losses.budget_every == 0
        )
        gates = model.learns_relevance and losses.relevance_teacher == "gate" and step % 2 == 1
        at_random = _chance(self.config.random_selection, "selection", seed, step)
        done = step / max(1, self.state.max_steps)
        return Draws(
            times=times,
            noise=noise,
            budget=budget,
            gate=gates,
            gate_seed=stable_seed("gate", *key),
            selection_seed=stable_seed("selection", *key) if at_random else None,
            tells_truth=_chance(self.config.told_truth * (1 - done), "truth", seed, step),
            measurements=tuple(
                draw_noise(batch, "measure", draw, *key) for draw in range(losses.budget_draws if measures else 0)
            ),
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted sum of all losses, each divided by its count over all processes.

        Answer tokens are counted over all micro-batches of the step, everything else within the micro-batch.
        """
        batch: Batch = inputs["batch"]
        self._report_skipped(batch)
        draws = self.draw(batch)
        parts: Parts = model(batch, draws)
        processes = self.accelerator.num_processes
        counts = self._global_counts(parts)
        total = torch.zeros((), device=self.args.device)
        for name, (value, _) in parts.items():
            weight = self.config.losses.weight(name)
            if name == "denoising" and num_items_in_batch is not None:
                mean = value / num_items_in_batch
            else:
                mean = value / counts[name].clamp(min=1) / self.args.gradient_accumulation_steps
            total = total + weight * mean
        self._note(parts, counts, draws.budget)
        # Engines average gradients over processes, but the counts are sums over them.
        loss = total * processes
        return (loss, parts) if return_outputs else loss

    def _global_counts(self, parts: Parts) -> dict[str, Tensor]:
        zero = torch.zeros((), device=self.args.device)
        counts = torch.stack([parts[name][1].float() if name in parts else zero for name in LOSSES])
        if self.accelerator.num_processes > 1:
            counts = self.accelerator.reduce(counts, reduction="sum")
        return dict(zip(LOSSES, counts, strict=True))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, or Muon beside it, over named groups with rates of their own; the schedule scales them all."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(
                parameter_groups(self.model, self.config.trainable),
                betas=(self.args.adam_beta1, self.args.adam_beta2),
                eps=self.args.adam_epsilon,
            )
        return self.optimizer

    # What is reported

    def _note(self, parts: Parts, counts: Mapping[str, Tensor], budget: int | None) -> None:
        """Remember this process's share of every mean until it is logged; adding on the device waits for nothing."""
        zero = torch.zeros((), device=self.args.device)
        shares = [parts[name][0].detach() / counts[name].clamp(min=1) if name in parts else zero for name in LOSSES]
        # A loss that this process has no part of counts too, since the others may have one.
        happened = [(counts[name] > 0).float() for name in LOSSES]
        noted = torch.stack([torch.stack(shares).float(), torch.stack(happened)])
        self._sums = noted if self._sums is None else self._sums + noted
        if budget is not None:
            # All processes draw the same budget in a step.
            of_budget = noted[:, list(LOSSES).index("denoising")]
            self._by_budget[budget] = self._by_budget.get(budget, torch.zeros_like(of_budget)) + of_budget

    def count(self, inputs: Mapping[str, Any]) -> dict[str, int]:
        batch: Batch = inputs["batch"]
        return {"samples": len(batch.ids), "answer_tokens": batch.num_labeled}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._sums is not None:
            shares, happened = self._sums
            means = self.accelerator.reduce(shares, reduction="sum") / happened.clamp(min=1)
            for name, mean, times in zip(LOSSES, means.tolist(), happened.tolist(), strict=True):
                if times:
                    logs[f"loss_{name}"] = mean
            for budget, (share, times) in sorted(self._by_budget.items()):
                mean = self.accelerator.reduce(share, reduction="sum") / times.clamp(min=1)
                if times.item():
                    logs[f"loss_denoising_at_{budget}"] = mean.item()
            self._sums, self._by_budget = None, {}
            logs |= self._picks()
            logs["skipped"] = self.num_skipped
        super().log(logs, start_time)

    def _picks(self) -> dict[str, float]:
        """Of the pages that the budget head last learned from: the share for which it picks each budget, and for which
        each would have done."""
        model: TrainingModel = self.accelerator.unwrap_model(self.model)
        if model.handle is None or not self.config.losses.weight("budget"):
            return {}
        budgets, counts = model.handle.config.budgets, model.memory.picked
        if counts is None:  # another process may have measured some
            counts = torch.zeros(2, len(budgets), device=self.args.device)
        rows = self.accelerator.reduce(counts.float(), reduction="sum").tolist()
        return {
            f"budget_{name}_{budget}": pages / sum(row)
            for name, row in zip(("picked", "enough"), rows, strict=True)
            for budget, pages in zip(budgets, row, strict=True)
            if sum(row)
        }

    def _report_skipped(self, batch: Batch) -> None:
        self.num_skipped += len(batch.skipped)

    # Validation

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: Sequence[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Share of held-out questions answered exactly, per budget and kind, and the loss on held-out records; the best
        model so far is written, the one with most right answers, or with the lowest loss where there are records alone.
        """
        assert self.validation is not None
        model: TrainingModel = self.accelerator.unwrap_model(self.model)
        model.eval()
        part = {"shard": self.args.process_index, "num_shards": self.args.world_size}
        with self.gathered(model):
            counts = self.validation.count_right(model.lavida, model.handle, **part)
            losses = self.validation.held_out_losses(model, **part)
        model.train()
        merged = add_up(gather_object([counts]))
        metrics = {}
        for budget in self.validation.budgets:
            of_budget = {kind: pair for (place, kind), pair in merged.items() if place == budget}
            suffix = "" if len(self.validation.budgets) == 1 else f"_at_{budget or 'auto'}"
            right, asked = (sum(pair[place] for pair in of_budget.values()) for place in (0, 1))
            metrics[f"{metric_key_prefix}_exact_match{suffix}"] = right / asked
            for kind, pair in sorted(of_budget.items()):
                metrics[f"{metric_key_prefix}_{kind}{suffix}"] = pair[0] / pair[1]
        score = next(iter(metrics.values()))
        if sums := add_up(gather_object([losses])):
            for source, (total, count) in sorted(sums.items()):
                metrics[f"{metric_key_prefix}_loss_{source}"] = total / count
            if self.validation.pages is None:
                score = -sum(total for total, _ in sums.values()) / sum(count for _, count in sums.values())
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._keep_best(score, metrics)
        return metrics

    def _keep_best(self, score: float, metrics: Mapping[str, float]) -> None:
        # In the trainer's state, so that a resumed run knows what it has to beat.
        if self.state.best_metric is None or score > self.state.best_metric:
            self.state.best_metric = score
            self.write_model("best", {"step": self.state.global_step, **metrics})

    def write_model(self, name: str, results: Mapping[str, Any]) -> None:
        """Write what users load to ``out/name``; all processes must call this."""
        model: TrainingModel = self.accelerator.unwrap_model(self.model)
        self.check_finite()
        with self.gathered(model), self.keeps_last_checkpoint(name):
            if self.args.should_save:
                state = {key: value.detach().cpu() for key, value in model.lavida.state_dict().items()}
                self.export.write(Path(self.args.output_dir) / name, state, results)
        self.accelerator.wait_for_everyone()

    @contextmanager
    def gathered(self, model: nn.Module) -> Iterator[None]:
        """Inside, every process holds all weights, also where ZeRO-3 spreads them.

        Decoding calls parts of the model by themselves, which ZeRO-3's hooks on whole passes do not serve.
        """
        spread = [parameter for parameter in model.parameters() if hasattr(parameter, "ds_id")]
        if not spread:
            yield
            return
        import deepspeed

        offload = self.model_wrapped.optimizer.parameter_offload
        # What the engine has begun to fetch for the next pass cannot be given back; it is waited for and released.
        offload.partition_all_parameters()
        offload._remove_module_hooks()
        offload.forward_hooks, offload.backward_hooks = [], []
        try:
            with deepspeed.zero.GatheredParameters(spread):
                yield
        finally:
            offload.setup_zero_stage3_hooks()

    # Checkpoints

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Write what trains; the frozen rest is read from the base checkpoint when a run is resumed."""
        model: TrainingModel = self.accelerator.unwrap_model(self.model)
        with self.gathered(model):
            if self.args.should_save:
                directory = Path(output_dir or self.args.output_dir)
                directory.mkdir(parents=True, exist_ok=True)
                trained = {
                    name: parameter.detach().cpu().contiguous()
                    for name, parameter in model.named_parameters()
                    if parameter.requires_grad
                }
                save_file(trained, directory / TRAINABLE_FILE, metadata={"format": "pt"})

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        self._save(output_dir)

    def _memory_file(self, directory: str) -> Path:
        return Path(directory) / f"budget_memory_{self.args.process_index}.safetensors"

    def _save_rng_state(self, output_dir: str) -> None:
        """What only this process knows: its chance, and the budgets that it has measured."""
        if self.config.losses.weight("budget"):
            model: TrainingModel = self.accelerator.unwrap_model(self.model)
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_file(model.memory.state(), self._memory_file(output_dir))
        super()._save_rng_state(output_dir)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is None or not self.config.losses.weight("budget"):
            return
        model: TrainingModel = self.accelerator.unwrap_model(self.model)
        file = self._memory_file(checkpoint)
        if file.is_file():
            with self._reading(checkpoint):
                model.memory.load(load_file(file), self.args.device)
        else:
            logger.warning("%s is not there: the budget head waits for new measurements", file)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        self.model_wrapped.save_checkpoint(output_dir, exclude_frozen_parameters=True)
        if self.args.should_save:
            assert self.lr_scheduler is not None
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        if resume_from_checkpoint is None or not self.is_deepspeed_enabled:
            return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)
        # Frozen weights are not in the checkpoint, which strict loading would miss.
        with self._reading(resume_from_checkpoint):
            place, _ = self.model_wrapped.load_checkpoint(resume_from_checkpoint, load_module_strict=False)
        if place is None:
            raise ValueError(f"{resume_from_checkpoint} holds no state of DeepSpeed; resume with the engine it is of")
        self._load_optimizer_and_scheduler(resume_from_checkpoint)
        return prepared

    def _load_weights(self, checkpoint: str, model: nn.Module | None) -> None:
        file = Path(checkpoint) / TRAINABLE_FILE
        trained = load_file(file)
        model = self.accelerator.unwrap_model(self.model if model is None else model)
        wanted = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        if wanted.keys() != trained.keys():
            names = sorted(wanted.keys() ^ trained.keys())[:3]
            raise ValueError(f"{file} was written by a run that trains other parameters ({', '.join(names)} ...)")
        with torch.no_grad():
            for name, parameter in wanted.items():
                parameter.copy_(trained[name])


def _chance(share: float, *key: str | int) -> bool:
    """True in this share of all steps; processes and restarts agree on which."""
    generator = torch.Generator().manual_seed(stable_seed(*key))
    return torch.rand((), generator=generator).item() < share
