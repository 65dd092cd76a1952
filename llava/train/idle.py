"""Settings that a run does not read, because what they belong to is left out: a run should not seem to obey them."""

from collections.abc import Collection, Iterator
from dataclasses import fields

from llava.train.config import TrainConfig
from shirg.settings import Settings

_LORA = ("rank", "projector_layers", "coord", "coord_rank", "language_rank", "alpha_per_rank", "dropout")
_BUDGET = ("budget_teacher", "budget_every", "budget_memory", "budget_draws", "budget_slack")


def idle_settings(config: TrainConfig, trained: Collection[str]) -> list[str]:
    """A sentence for each setting that differs from its default and changes nothing.

    They are told and not refused, since a file that extends another cannot take one out.

    Args:
        trained: the groups of parameters that train.
    """
    return [f"{name} has no effect {why}" for name, why in _idle(config, trained)]


def _idle(config: TrainConfig, trained: Collection[str]) -> Iterator[tuple[str, str]]:
    trainable, losses = config.trainable, config.losses
    for group in trainable.learning_rates:
        if group not in trained:
            yield f"trainable: learning_rates: {group}", "where nothing of this group trains"
    if not trainable.uses_lora:
        yield from _changed("trainable", trainable, _LORA, f"in scope {trainable.scope}, which uses no LoRA")
    elif trainable.scope != "shirg_x_expanded":
        yield from _changed("trainable", trainable, ("language_rank",), "outside of scope shirg_x_expanded")
    if trainable.uses_lora and trainable.coord == "full":
        yield from _changed("trainable", trainable, ("coord_rank",), "with coord: full")
    learns = config.shirg_x is not None and config.shirg_x.source.weights is not None and losses.weight("relevance") > 0
    if config.shirg_x is None or not losses.weight("budget") or not losses.denoising:
        yield from _changed("losses", losses, _BUDGET, "where the budget head does not learn")
    elif losses.budget_teacher == "evidence":
        yield from _changed(
            "losses", losses, ("budget_every", "budget_draws"), "where evidence teaches the budget head"
        )
    if not learns:
        why = "where no relevance is learned"
        yield from _changed("losses", losses, ("relevance_teacher", "relevance_into_tower"), why)
    if not losses.weight("grounding"):
        yield from _changed("losses", losses, ("grounding_layers", "grounding_heads"), "without grounding")
    distills = learns and losses.relevance_teacher == "attention"
    if not (losses.weight("pointing") or losses.weight("speaking") or distills):
        yield from _changed("losses", losses, ("pointing_layers",), "where no attention is taught or distilled")
    if config.validation is None and not config.held_out:
        yield from _changed("", config, ("validation_budgets",), "without validation or held_out")
    if config.pages is not None:
        yield from _changed("", config, ("max_missing_images",), "on drawn pages")


def _changed(section: str, settings: Settings, names: Collection[str], why: str) -> Iterator[tuple[str, str]]:
    for entry in fields(settings):
        if entry.name in names and getattr(settings, entry.name) != entry.default:
            yield f"{section}: {entry.name}" if section else entry.name, why
