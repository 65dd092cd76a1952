"""Times and memory of one answer about one page, stage by stage.

Axis-free: everything is batch 1, as a person waits for it.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedTokenizerBase

from lavida_shirg_integration import ShirgXHandle, apply_shirg_x
from llava.conversation import conv_templates
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.generate import denoise
from llava.model.language_model.llada.modeling_llada import LLaDAModel
from llava.model.language_model.llava_llada import LlavaLladaConfig, LlavaLladaForMaskedDiffusion
from llava.question import Question
from llava.speed.floors import language_weights, peaks_of, prefill_flops, projector_flops, vision_flops
from llava.speed.reference import denoise_straightforward
from shirg import ShirgXConfig
from shirg.profiling import seconds_now

FULL_SIZE_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
"""google/siglip-so400m-patch14-384."""

SELECTION = ("score", "merge", "select")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is timed."""

    image: Image.Image
    prompt_ids: torch.Tensor
    question: Question
    num_answer: int = 32
    steps: int = 32
    repeats: int = 5

    @classmethod
    def of_question(
        cls, image: Image.Image, text: str, tokenizer: PreTrainedTokenizerBase, **settings: int
    ) -> "Workload":
        """A question about an image, in LaViDa's prompt."""
        conversation = conv_templates["llada"].copy()
        conversation.append_message("user", f"<image>\n{text}")
        conversation.append_message("assistant", None)
        ids = torch.tensor(tokenizer_image_token(conversation.get_prompt(), tokenizer))
        return cls(image=image, prompt_ids=ids, question=Question.from_text(text, tokenizer), **settings)


def full_size_model(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> LlavaLladaForMaskedDiffusion:
    """LaViDa-8B with random weights on a device; speed does not depend on what they are."""
    with torch.device("meta"):
        model = LlavaLladaForMaskedDiffusion(LlavaLladaConfig(mm_vision_config=FULL_SIZE_VISION))
    model = model.to(dtype).to_empty(device=device).eval()
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(1.0)
            else:
                parameter.normal_(std=0.02, generator=generator)
    return model


def measure_stages(model: LlavaLladaForMaskedDiffusion, config: ShirgXConfig, work: Workload) -> dict[str, Any]:
    """Milliseconds of every stage of an answer with SHIRG-X (medians), and the peak memory of it all."""
    device = model.device
    settings = DecodingConfig(max_new_tokens=work.num_answer, steps=work.steps, prefix_lm=True)
    times: dict[str, list[float]] = {}
    with apply_shirg_x(model, config.replace(debug=True)) as handle, torch.no_grad():
        processor = model.get_vision_tower().image_processor
        for repeat in range(work.repeats + 1):
            if repeat == 1:
                times.clear()
            views = _timed(times, "preprocess", device, lambda: process_images([work.image], processor, model.config))
            sequences = _encode(handle, views, work, times)
            prompt = model.splice([work.prompt_ids], sequences)
            _timed(
                times,
                "prefill",
                device,
                lambda: model.model.prefill(prompt.embeds, prompt.lengths, num_answer=work.num_answer),  # noqa: B023
            )
            start = seconds_now(device)
            model.denoise(prompt, settings)
            total = (seconds_now(device) - start) * 1e3
            times.setdefault("step", []).append((total - times["prefill"][-1]) / work.steps)
            times.setdefault("answer", []).append(total)
        prefix, visual = prompt.lengths[0], len(sequences[0])
    stages = {name: statistics.median(values) for name, values in times.items()}
    return {
        "milliseconds": stages,
        "over_floor": _over_floor(model, config, stages, views=len(views[0]), prefix=prefix, visual=visual),
        "views": len(views[0]),
        "selection_ms": sum(stages[name] for name in SELECTION),
        "selection_of_encode": sum(stages[name] for name in SELECTION) / stages["encode"],
        "prefix_tokens": prefix,
        "visual_tokens": visual,
        "peak_gb": _peak_gb(model, config, work),
        "weights_gb": sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) / 1e9,
    }


def _peak_gb(model: LlavaLladaForMaskedDiffusion, config: ShirgXConfig, work: Workload) -> float | None:
    """Most memory allocated during one answer, in a run of its own: stage timers reset the allocator's counter."""
    device = model.device
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    with apply_shirg_x(model, config):
        views = process_images([work.image], model.get_vision_tower().image_processor, model.config)
        model.generate(
            work.prompt_ids,
            views,
            [work.image.size],
            questions=[work.question],
            max_new_tokens=work.num_answer,
            steps=work.steps,
            prefix_lm=True,
        )
    return torch.cuda.max_memory_allocated(device) / 1e9


def _encode(
    handle: ShirgXHandle, views: list[torch.Tensor], work: Workload, times: dict[str, list[float]]
) -> list[torch.Tensor]:
    before = {name: stats.total_ms for name, stats in handle.timer.report().items()}
    pages = handle.encode_pages(views, [work.image.size])
    sequences = handle.select_tokens(pages, [work.question]).sequences
    for name, stats in handle.timer.report().items():
        times.setdefault(name, []).append(stats.total_ms - before.get(name, 0.0))
    return sequences


def _over_floor(
    model: LlavaLladaForMaskedDiffusion,
    config: ShirgXConfig,
    stages: dict[str, float],
    *,
    views: int,
    prefix: int,
    visual: int,
) -> dict[str, float] | None:
    """Each stage's time over the least it can take on this device; None where the device's peaks are not known."""
    name = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else ""
    peaks = peaks_of(name)
    if peaks is None:
        return None
    tower = model.get_vision_tower()
    bytes_per_weight = torch.finfo(model.dtype).bits / 8
    step = language_weights(model.config) * bytes_per_weight / peaks.bytes_per_second
    prefill = prefill_flops(model.config, prefix) / peaks.flops_per_second
    vision = vision_flops(tower.config, tower.num_layers_run, config.grid**2, views)
    vision += projector_flops(tower.hidden_size, model.config.hidden_size, visual)
    path = sum(stages[stage] for stage in ("encode", "similarity", *SELECTION, "project") if stage in stages)
    return {
        "step": stages["step"] / 1e3 / step,
        "prefill": stages["prefill"] / 1e3 / prefill,
        "vision_path": path / 1e3 * peaks.flops_per_second / vision,
    }


def compare_decoding(model: LlavaLladaForMaskedDiffusion, work: Workload, *, prefix_tokens: int) -> dict[str, Any]:
    """Decoding against its straightforward form, in turn, on one random prompt; on a GPU also with a captured step.

    ``equal_tokens`` says which share of the answer is the same: all of it, unless rounding decides a near tie, which in
    16-bit arithmetic it may.
    """
    device, mask_id = model.device, model.config.mask_token_id
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.config.vocab_size, (1, prefix_tokens), generator=generator).to(device)
    embeds = model.model.embed_tokens(ids).detach()

    def cached(*, cuda_graph: bool = False) -> torch.Tensor:
        settings = DecodingConfig(
            max_new_tokens=work.num_answer, steps=work.steps, prefix_lm=True, cuda_graph=cuda_graph
        )
        done = denoise(model.model, embeds, [prefix_tokens], settings, mask_id=mask_id, stop_ids=(), fill_id=mask_id)
        return done.tokens

    language = model.get_model()
    assert isinstance(language, LLaDAModel)
    forms: dict[str, Callable[[], torch.Tensor]] = {
        "cached": cached,
        "rotated_again": lambda: denoise_straightforward(
            language, embeds, num_answer=work.num_answer, steps=work.steps, mask_id=mask_id
        ),
        "recomputed": lambda: denoise_straightforward(
            language, embeds, num_answer=work.num_answer, steps=work.steps, mask_id=mask_id, keep_cache=False
        ),
    }
    if device.type == "cuda":
        forms["captured"] = partial(cached, cuda_graph=True)
    others = [name for name in forms if name != "cached"]
    times: dict[str, list[float]] = {}
    answers = {}
    for repeat in range(work.repeats + 1):
        for name, run in forms.items():
            answers[name] = _timed(times, name, device, run)
        if repeat == 0:
            times.clear()
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "prefix_tokens": prefix_tokens,
        "milliseconds": medians,
        "speedup": {name: medians[name] / medians["cached"] for name in others},
        "equal_tokens": {name: (answers[name] == answers["cached"]).float().mean().item() for name in others},
    }


def _timed(times: dict[str, list[float]], name: str, device: torch.device, run: Callable[[], Any]) -> Any:
    start = seconds_now(device)
    result = run()
    times.setdefault(name, []).append((seconds_now(device) - start) * 1e3)
    return result
