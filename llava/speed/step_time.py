"""Time and peak memory of training steps, measured on one device: what the plan of a run only works out."""

import math
import statistics
from typing import Any

import torch

from lavida_shirg_integration import apply_shirg_x
from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.data.batch import Batch, draw_noise, make_batch
from llava.data.sample import Sample
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.question import Question
from llava.speed.floors import peaks_of
from llava.speed.plan import PlannedRun, plan_training
from llava.train.config import TrainConfig
from llava.train.model import Draws, TrainingModel
from llava.train.muon import make_optimizer
from llava.tuning.parameters import checkpoint_activations, parameter_groups, prepare_trainable
from shirg.profiling import seconds_now

SAMPLES = 100_000
"""For which the hours of a run are worked out."""


def measure_steps(
    model: LavidaForMaskedDiffusion,
    config: TrainConfig,
    *,
    batch_size: int,
    steps: int,
    prompt_tokens: int = 48,
    answer_tokens: int = 32,
    processes: int = 8,
) -> dict[str, Any]:
    """Run whole optimizer steps on random samples at every budget; the model is changed by them, and stays patched.

    Each budget has one step to warm up, then ``steps`` timed ones (median). A further row measures the budget labels,
    as one step in ``losses.budget_every`` does. AdamW keeps its moments in the parameters' own precision; no engine
    splits anything.

    Args:
        processes: GPUs of this kind for which ``hours``, for ``SAMPLES`` samples, is worked out.

    Returns:
        Plain values: ``rows`` per budget with measured seconds, samples per second and peak bytes (None on a CPU), the
        plan's bytes and arithmetic beside them, and the share of the device's peak (None where it is not known).

    Raises:
        ValueError: if the configuration has no SHIRG-X, or asks for losses that need drawn pages.
    """
    if config.shirg_x is None or config.losses.page_losses:
        raise ValueError("a step is measured with SHIRG-X and without losses that need drawn pages; change losses")
    handle = apply_shirg_x(model, config.shirg_x.replace(budget="auto"), weights=False)
    report = prepare_trainable(model, config.trainable)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    module = TrainingModel(model, handle, config.losses).to(model.device).train()
    optimizer = make_optimizer(parameter_groups(module, config.trainable))
    samples = [_random_sample(model, number, prompt_tokens, answer_tokens) for number in range(batch_size)]
    batch = make_batch([(sample,) for sample in samples])
    rows = {}
    for budget in config.drawn_budgets:
        seconds, peak = _time_steps(module, optimizer, batch, budget, steps)
        shirg = config.shirg_x.replace(budgets=[budget], budget=budget)
        run = PlannedRun(
            samples=SAMPLES,
            processes=processes,
            batch=batch_size,
            zero_stage=0,
            gradient_checkpointing=config.gradient_checkpointing,
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
            budget_every=0,
            samples_per_second=processes * batch_size / seconds,
        )
        plan = plan_training(model.config, config.trainable, shirg, run)
        flops = batch_size * sum(plan.flops.values())
        peaks = peaks_of(torch.cuda.get_device_name(model.device)) if model.device.type == "cuda" else None
        rows[str(budget)] = {
            "seconds": seconds,
            "samples_per_second": batch_size / seconds,
            "peak_bytes": peak,
            "planned_bytes": sum(plan.memory.values()),
            "planned_flops": flops,
            "share_of_peak": None if peaks is None else flops / seconds / peaks.flops_per_second,
            "hours": plan.seconds / 3600,
        }
    if config.losses.weight("budget"):
        draws = config.losses.budget_draws
        seconds, peak = _time_steps(module, optimizer, batch, config.drawn_budgets[-1], steps, measurements=draws)
        rows["measures budgets"] = {"seconds": seconds, "peak_bytes": peak}
    return {
        "batch_size": batch_size,
        "steps": steps,
        "prompt_tokens": prompt_tokens,
        "answer_tokens": answer_tokens,
        "trainable": report.trainable,
        "parameters": report.total,
        "processes": processes,
        "rows": rows,
    }


def _random_sample(model: LavidaForMaskedDiffusion, number: int, prompt_tokens: int, answer_tokens: int) -> Sample:
    generator = torch.Generator().manual_seed(number)
    config = model.config
    side = config.image_view.side
    words = torch.randint(config.vocab_size // 2, (prompt_tokens + answer_tokens,), generator=generator)
    ids = torch.cat([words[:1], torch.tensor([IMAGE_TOKEN_INDEX]), words[1:]])
    labels = ids.clone()
    labels[: len(ids) - answer_tokens] = IGNORE_INDEX
    tiles = math.prod(config.image_view.tiling((side, side)))
    view = torch.rand(tiles, 3, side, side, generator=generator) * 2 - 1
    return Sample(
        id=str(number),
        input_ids=ids,
        labels=labels,
        views=(view.to(model.dtype),),
        image_sizes=((side, side),),
        question=Question(ids=tuple(words[1:9].tolist())),
    )


def _time_steps(
    module: TrainingModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    budget: int,
    steps: int,
    *,
    measurements: int = 0,
) -> tuple[float, int | None]:
    device = module.lavida.device
    times, noise = draw_noise(batch, "time")
    measured = tuple(draw_noise(batch, "measure", draw) for draw in range(measurements))
    draws = Draws(times=times, noise=noise, budget=budget, measurements=measured)
    _step(module, optimizer, batch, draws)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(steps):
        start = seconds_now(device)
        _step(module, optimizer, batch, draws)
        seconds.append(seconds_now(device) - start)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return statistics.median(seconds), peak


def _step(module: TrainingModel, optimizer: torch.optim.Optimizer, batch: Batch, draws: Draws) -> None:
    total = torch.zeros((), device=module.lavida.device)
    for name, (value, count) in module(batch, draws).items():
        total = total + module.loss_config.weight(name) * value / count.clamp(min=1)
    total.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
