"""What a training run will take, before it is started: parameters, tokens, memory, arithmetic and time.

Everything is worked out from sizes on the meta device; no weight is read and no accelerator is needed.

Symbols: d (language width), h (its MLP), V (vocabulary), w (vision width), T (positions of a sample after splicing).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from lavida_shirg_integration import ShirgX
from llava.inference.checkpoint import vision_kwargs
from llava.mm_utils import get_anyres_image_grid_shape
from llava.model.anyres import stock_tokens
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.language_model.registry import BACKBONES
from llava.speed.floors import keys_width, peaks_of, prefill_flops, projector_flops, vision_flops
from llava.tuning.config import TrainableConfig
from llava.tuning.parameters import group_of, num_elements, prepare_trainable
from shirg.config import ShirgXConfig
from shirg.settings import Settings

COPIES = 2
"""Every sample is seen with a mask and with its complement."""
TARGET_HOURS = 5.0
"""How long a run may take on 8 A100s."""
_ATTENTION_BACKWARD = 2.5
"""Arithmetic of fused attention backward, over forward: five products instead of two (arXiv 2205.14135)."""
_LOGIT_BYTES = 2 + 4 + 4
"""Of one logit: in bfloat16, in float32, and its log-probability (or gradient) in float32."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun(Settings):
    """The size of a run, and what it runs on.

    Raises:
        ValueError: if a number is out of range, or the peak of the device is not known.
    """

    samples: int
    """Samples in the mixture."""
    epochs: int = 1
    processes: int = 8
    """GPUs."""
    batch: int = 4
    """Samples a process sees in one pass; both copies of each go through at once."""
    accumulation: int = 1
    """Passes per step of the optimizer."""
    zero_stage: int = 2
    """DeepSpeed's: 0 splits nothing over processes, 1 Adam's states, 2 also gradients, 3 also weights."""
    gradient_checkpointing: bool = True
    """Keep one vector per layer and position, and compute the rest again in the backward pass."""
    prompt_tokens: int = 48
    """Words and template of a sample, without its image."""
    answer_tokens: int = 32
    """Labeled positions; between them, the two copies mask each once."""
    image_size: tuple[int, int] = (768, 768)
    """(width, height) in pixels of a typical image, which sets LaViDa's own number of views and tokens, and with
    ``tiles: auto`` SHIRG-X's views."""
    budget_every: int = 50
    """Steps between measurements of the budget head's labels; 0 for never."""
    budget_draws: int = 4
    """Noise draws of a measurement."""
    teacher: Literal["attention", "gate"] | None = None
    """Of the relevance, where it takes passes of its own: ``attention`` looks at every patch once more in each step,
    ``gate`` shows every patch, instead of those that are kept, in every second one."""
    looked_at_layers: int = 0
    """Layers whose attention teaches."""
    samples_per_second: float | None = None
    """Measured, of all processes together; the time follows from arithmetic when not given."""
    utilization: float = 0.4
    """Assumed share of the device's peak, where no throughput is given."""
    device: str = "A100-SXM4-80GB"

    def __post_init__(self) -> None:
        for name in ("samples", "epochs", "processes", "batch", "accumulation", "answer_tokens", "budget_draws"):
            self.check_count(name, 1)
        for name in ("prompt_tokens", "budget_every", "looked_at_layers"):
            self.check_count(name, 0)
        self.check_choice("zero_stage", (0, 1, 2, 3))
        self.check_choice("teacher", (None, "attention", "gate"))
        self.check_choice("gradient_checkpointing", (True, False))
        self.check_number("utilization")
        if not 0 < self.utilization <= 1:
            raise ValueError(f"utilization must be above 0 and at most 1, got {self.utilization!r}")
        if self.samples_per_second is not None:
            self.check_number("samples_per_second")
            if not self.samples_per_second:
                raise ValueError("samples_per_second must be above 0; leave it out if it was not measured")
        if peaks_of(self.device) is None:
            raise ValueError(f"the peak of device {self.device!r} is not known; give A100-SXM4-80GB, H100 or H200")
        object.__setattr__(self, "image_size", tuple(self.image_size))
        if len(self.image_size) != 2 or not all(type(side) is int and side > 0 for side in self.image_size):
            raise ValueError(f"image_size must be a width and a height in pixels, got {self.image_size!r}")

    @property
    def steps(self) -> int:
        """Steps of the optimizer; the last one of an epoch may be smaller."""
        return self.epochs * math.ceil(self.samples / (self.processes * self.batch * self.accumulation))


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The numbers of a run."""

    run: PlannedRun
    scope: str
    parameters: Mapping[str, int]
    """By group, trainable or not, with LoRA's."""
    trainable: Mapping[str, int]
    """By group."""
    tokens: Mapping[str, int]
    """Positions of a sample: LaViDa's own encoding, and SHIRG-X's at every budget that is trained."""
    memory: Mapping[str, float]
    """Bytes on one GPU, by what they hold; the largest budget counts."""
    flops: Mapping[str, float]
    """Arithmetic of one sample, by what it is for; the mean over budgets."""

    @property
    def seconds(self) -> float:
        """Expected time of all epochs: by the measured throughput, or else by arithmetic."""
        samples = self.run.samples * self.run.epochs
        if self.run.samples_per_second is not None:
            return samples / self.run.samples_per_second
        return samples * sum(self.flops.values()) / self.flops_per_second

    @property
    def flops_per_second(self) -> float:
        """What all GPUs together are assumed to do."""
        peaks = peaks_of(self.run.device)
        assert peaks is not None
        return self.run.processes * peaks.flops_per_second * self.run.utilization


def plan_training(
    model_config: LavidaConfig, trainable: TrainableConfig, shirg: ShirgXConfig | None, run: PlannedRun
) -> TrainingPlan:
    """Everything a run takes, from the sizes of a model; ``shirg`` None trains LaViDa's own encoding.

    Memory is that of mixed precision with Adam, in bytes: 2 for every weight, and for every trainable one 2 of gradient
    and 12 of a float32 copy and two moments, split over processes as ``zero_stage`` says. Activations are counted by
    ``activation_elements``, 2 bytes each; logits exist at masked positions only, 10 bytes each at their peak. Not
    counted: the CUDA context, buffers of communication, fragmentation, SigLIP's text tower (typically 2 to 4 GB).

    Arithmetic counts a multiplication and an addition as two. Per copy and layer, a matrix costs 2 x weights x T
    forward, as much again for the gradient of its input (which passes through frozen layers too, down to the projector
    or the tower), and as much again for its own gradient where it trains in full; attention costs 4 d T^2 forward and
    2.5 times that backward, since fused attention computes its weights again; checkpointing repeats the forward pass.
    The image is encoded once for both copies. Beside the step's own pass, its teachers and measurements are counted:
    both copies once more over every patch for ``attention``, and for each budget and draw, without a backward pass.

    Raises:
        ValueError: if the scope needs SHIRG-X and it is not given, or a sample does not fit the model's context.
    """
    shirg = None if shirg is None or shirg.mode == "stock" else shirg
    model = _meta_model(model_config, shirg)
    totals, config = Counter[str](), model.config
    report = prepare_trainable(model, trainable)
    for name, parameter in model.named_parameters():
        totals[group_of(name)] += num_elements(parameter)
    stock = stock_tokens(config, model.get_vision_tower().config, run.image_size)
    text = run.prompt_tokens + run.answer_tokens
    tokens = {"LaViDa": stock + text}
    lengths = [tokens["LaViDa"]]
    if shirg is not None:
        budgets = shirg.offered
        scaffold = shirg.scaffold * shirg.scaffold_tokens
        lengths = [scaffold + budget + text for budget in budgets]
        tokens |= {f"SHIRG-X, K = {budget:,}": length for budget, length in zip(budgets, lengths, strict=True)}
        if run.teacher is not None:
            views, patches = _views(model, run, shirg)
            tokens["SHIRG-X, every patch"] = scaffold + views * patches + text
    longest = max(lengths[-1], tokens.get("SHIRG-X, every patch", 0))
    if longest > config.max_sequence_length:
        raise ValueError(
            f"a sample takes {longest} positions, more than the {config.max_sequence_length} of this model; "
            "train smaller budgets, or shorter prompts and answers"
        )
    return TrainingPlan(
        run=run,
        scope=trainable.scope,
        parameters={group: totals[group] for group in totals},
        trainable=report.groups,
        tokens=tokens,
        memory=_memory(
            model,
            trainable,
            run,
            shirg,
            totals.total(),
            report.trainable,
            longest if run.teacher == "gate" else lengths[-1],
        ),
        flops=_flops(model, trainable, run, shirg, _passes(run, lengths, longest), longest),
    )


def plan_rows(plan: TrainingPlan) -> list[tuple[str, str]]:
    """The plan as lines to print: what, and how much."""
    run, hours = plan.run, plan.seconds / 3600
    total, trainable = sum(plan.parameters.values()), sum(plan.trainable.values())
    rows = [("scope", plan.scope)]
    rows += [
        (f"parameters, {group}", f"{count:,}, trainable {plan.trainable.get(group, 0):,}")
        for group, count in plan.parameters.items()
    ]
    rows.append(("parameters", f"{total:,}, trainable {trainable:,} ({trainable / total:.4%})"))
    rows += [(f"positions per sample, {name}", f"{count:,}") for name, count in plan.tokens.items()]
    rows += [(f"memory, {name}", f"{num_bytes / 1e9:,.2f} GB") for name, num_bytes in plan.memory.items()]
    split = f"ZeRO-{run.zero_stage}, {run.batch} samples a pass"
    rows.append(("memory per GPU", f"{sum(plan.memory.values()) / 1e9:,.2f} GB ({split})"))
    rows += [(f"arithmetic, {name}", f"{flops / 1e12:,.3f} TFLOP") for name, flops in plan.flops.items()]
    rows.append(("arithmetic per sample", f"{sum(plan.flops.values()) / 1e12:,.2f} TFLOP"))
    seen = f"{run.samples:,} samples x {run.epochs} / ({run.processes} GPUs x {run.batch} x {run.accumulation})"
    rows.append(("steps", f"{run.steps:,} = {seen}"))
    if run.samples_per_second is not None:
        reason = f"{run.samples_per_second:,.2f} samples/s, measured"
    else:
        reason = f"{run.utilization:.0%} of the peak of {run.processes} x {run.device}, assumed"
    rows.append(("expected time", f"{hours:,.2f} h ({reason})"))
    within = run.samples * run.epochs * TARGET_HOURS / hours
    rows.append(
        ("target time", f"about {TARGET_HOURS:g} h on 8 x A100, in which this run would see {within:,.0f} samples")
    )
    rows.append(("target size", f"about 65M trainable parameters (0.8 %); here {trainable / 1e6:,.2f}M"))
    return rows


def activation_elements(
    config: LavidaConfig, length: int, *, lora_rank: int = 0, full: bool = False, checkpointing: bool = False
) -> float:
    """Numbers that the language model keeps of one sequence for its backward pass.

    A layer keeps, per position, the inputs of its two norms, queries and attention's result (4 d), keys and values
    (2 d, or less where heads share them), and its MLP's gate before and after the activation and the other branch
    (3 h). Weights that train in full add their inputs and the normed states (5 d + h), LoRA of rank r on the
    attention's four projections its own (2 d + 4 r). With checkpointing a layer keeps its input (d), and one layer at a
    time the rest.
    """
    width, hidden = config.hidden_size, config.intermediate_size
    layer = 4 * width + 2 * keys_width(config) + 3 * hidden
    if full:
        layer += 5 * width + hidden
    elif lora_rank:
        layer += 2 * width + 4 * lora_rank
    kept = config.num_hidden_layers * width + layer if checkpointing else config.num_hidden_layers * layer
    return float(length * (kept + width))


def tower_activation_elements(model: LavidaForMaskedDiffusion, patches: int, *, checkpointing: bool = False) -> float:
    """The same for one view in a vision tower that trains: 9 w and twice its MLP per layer and patch."""
    tower = model.get_vision_tower()
    layer = 9 * tower.hidden_size + 2 * tower.config.intermediate_size
    layers = tower.num_layers_run
    kept = layers * tower.hidden_size + layer if checkpointing else layers * layer
    return float(patches * kept)


def _meta_model(model_config: LavidaConfig, shirg: ShirgXConfig | None) -> LavidaForMaskedDiffusion:
    config = type(model_config).from_dict(model_config.to_dict())
    config.mm_keep_all_layers = config.mm_keep_all_layers or bool(vision_kwargs(shirg))
    with torch.device("meta"):
        model: LavidaForMaskedDiffusion = BACKBONES[config.model_type](config)
        if shirg is not None:
            vision_dim = model.get_vision_tower().hidden_size
            model.add_module("shirg_x", ShirgX(shirg, vision_dim=vision_dim, word_dim=config.hidden_size))
    model.config.shirg_x = None if shirg is None else shirg.to_dict()
    return model


def _views(model: LavidaForMaskedDiffusion, run: PlannedRun, shirg: ShirgXConfig | None) -> tuple[int, int]:
    """How many views an image gives, and the patches of each."""
    tower, config = model.get_vision_tower(), model.config
    if shirg is not None:
        return math.prod(shirg.views(tower.patch_size).tiling(run.image_size)), shirg.grid**2
    if config.image_aspect_ratio != "anyres":
        return 1, tower.num_patches
    columns, rows = get_anyres_image_grid_shape(run.image_size, config.image_grid_pinpoints, tower.image_size)
    return 1 + columns * rows, tower.num_patches


def _memory(
    model: LavidaForMaskedDiffusion,
    trainable: TrainableConfig,
    run: PlannedRun,
    shirg: ShirgXConfig | None,
    total: int,
    trained: int,
    length: int,
) -> dict[str, float]:
    config, tower = model.config, model.get_vision_tower()

    def share(stage: int) -> int:
        return run.processes if run.zero_stage >= stage else 1

    language_rank = trainable.ranks["language"] if trainable.scope == "shirg_x_expanded" else 0
    full = trainable.scope == "everything"
    sequence = activation_elements(
        config, length, lora_rank=language_rank, full=full, checkpointing=run.gradient_checkpointing
    )
    views, patches = _views(model, run, shirg)
    projected = (length - run.prompt_tokens - run.answer_tokens) if shirg is not None else views * patches
    vision = float(projected * (tower.hidden_size + 2 * config.hidden_size))
    if full:
        vision += views * tower_activation_elements(model, patches, checkpointing=run.gradient_checkpointing)
    return {
        "weights": 2.0 * total / share(3),
        "gradients": 2.0 * trained / share(2),
        "Adam": 12.0 * trained / share(1),
        "activations": 2.0 * run.batch * (COPIES * sequence + vision),
        "logits": float(_LOGIT_BYTES * run.batch * run.answer_tokens * _vocabulary(config)),
    }


def _passes(run: PlannedRun, lengths: list[int], longest: int) -> list[int]:
    """The lengths that the passes of steps have, each as often as the others."""
    return lengths + [longest] * len(lengths) if run.teacher == "gate" else lengths


def _flops(
    model: LavidaForMaskedDiffusion,
    trainable: TrainableConfig,
    run: PlannedRun,
    shirg: ShirgXConfig | None,
    lengths: list[int],
    longest: int,
) -> dict[str, float]:
    config, tower = model.config, model.get_vision_tower()
    full, expanded = trainable.scope == "everything", trainable.scope == "shirg_x_expanded"
    blocks = COPIES * sum(prefill_flops(config, length) for length in lengths) / len(lengths)
    attention = (
        COPIES
        * sum(4.0 * config.num_hidden_layers * config.hidden_size * length**2 for length in lengths)
        / len(lengths)
    )
    matrices = blocks - attention
    head = 2.0 * config.hidden_size * _vocabulary(config) * run.answer_tokens
    views, patches = _views(model, run, shirg)
    vision = vision_flops(tower.config, tower.num_layers_run, patches, views)
    visual = [length - run.prompt_tokens - run.answer_tokens for length in lengths]
    projected = sum(visual) / len(visual) if shirg is not None else views * patches
    projector = projector_flops(tower.hidden_size, config.hidden_size, 1) * projected
    flops = {
        "encoding images": vision + projector,
        "language model forward": blocks + head,
        "its backward": (2 if full else 1) * (matrices + head) + _ATTENTION_BACKWARD * attention,
        "projector's backward": projector * (1 if trainable.uses_lora else 2),
    }
    if shirg is not None and "projected" in shirg.source.needs:
        flops["encoding images"] += projector_flops(tower.hidden_size, config.hidden_size, views * patches)
    if full:
        seen = views * tower.num_layers_run * 4.0 * tower.hidden_size * patches**2
        flops["tower's backward"] = 2 * (vision - seen) + _ATTENTION_BACKWARD * seen
    if expanded:
        sides = 6 * config.hidden_size + 2 * keys_width(config)
        lora = sides * trainable.ranks["language"] * config.num_hidden_layers
        flops["LoRA"] = 6.0 * lora * COPIES * sum(lengths) / len(lengths)
    if run.gradient_checkpointing:
        flops["computing again"] = blocks + (vision if full else 0.0)
    if shirg is not None and trainable.scope != "projector" and run.budget_every:
        # Measured are the budgets alone, also where a gate shows more.
        budgets = lengths[: len(shirg.offered)]
        measured = COPIES * sum(prefill_flops(config, length) for length in budgets) + len(budgets) * head
        flops["budget labels"] = run.budget_draws * measured / run.budget_every
    if shirg is not None and run.teacher is not None:
        # Vectors of every patch and word, forward and twice as much backward, without what comes before them.
        vectors = (
            2.0
            * shirg.relevance_dim
            * (
                views * patches * tower.hidden_size
                + run.prompt_tokens * config.hidden_size
                + views * patches * run.prompt_tokens
            )
        )
        flops["relevance"] = 3 * vectors
    if shirg is not None and run.teacher == "attention":
        looks = 2.0 * config.hidden_size * (config.hidden_size + keys_width(config))
        looked = COPIES * run.looked_at_layers * looks * longest
        every = projector_flops(
            tower.hidden_size, config.hidden_size, views * patches + shirg.scaffold * shirg.scaffold_tokens
        )
        flops["attention teacher"] = COPIES * prefill_flops(config, longest) + head + looked + every
    return flops


def _vocabulary(config: LavidaConfig) -> int:
    return config.vocab_rows
