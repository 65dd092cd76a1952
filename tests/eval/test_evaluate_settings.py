"""What decides about answers is told with them, down to the last weight, so that no others are taken for them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava.eval.asked import Asked
from llava.eval.benchmarks.registry import BENCHMARKS
from llava.eval.encoder import PageEncoder
from llava.eval.evaluate import resolved_settings, source_of
from llava.eval.methods import Method
from llava.eval.shards import Shard
from llava.inference.checkpoint import Checkpoint
from llava.inference.decoding import DECODING
from llava.inference.session import Session
from shirg.config import ShirgXConfig
from tests.cli_helpers import QUICK_SHIRG_X

SETTINGS = ShirgXConfig(**QUICK_SHIRG_X, budget=48)
SHORT = replace(DECODING, max_new_tokens=6)
ASKED = Asked(benchmark=BENCHMARKS["entitygrid"], split="test", style="shapes", questions=11)


@pytest.mark.parametrize(
    "name",
    [
        "model.mm_projector.0.weight",
        "model.transformer.ff_out.weight",
        "shirg_x.coordinates.coord_out.weight",
        "shirg_x.budget_head.hidden.weight",
        "shirg_x.relevance.patch_map.weight",
    ],
)
def test_another_number_anywhere_in_the_weights_is_another_model(quick: Path, name: str) -> None:
    settings = ShirgXConfig(**{**QUICK_SHIRG_X, "similarity": "learned"})
    checkpoint = Checkpoint.resolve(quick, settings=settings)
    session = Session.open(checkpoint, device="cpu")
    before = source_of(session, checkpoint)
    assert before == source_of(Session.open(checkpoint, device="cpu"), checkpoint)
    with torch.no_grad():
        dict(session.model.named_parameters())[name].view(-1)[-1].add_(0.5)
    after = source_of(session, checkpoint)
    assert {key for key in before if before[key] != after[key]} == {"weights"}


def test_layers_that_serve_scoring_only_count_as_weights(quick: Path) -> None:
    checkpoint = Checkpoint.resolve(quick, settings=SETTINGS.replace(similarity="attention"))
    session = Session.open(checkpoint, device="cpu")
    before = source_of(session, checkpoint)
    with torch.no_grad():
        session.model.get_vision_tower().transformer.encoder.layers[-1].self_attn.q_proj.bias[0] += 1
    assert source_of(session, checkpoint)["weights"] != before["weights"]


def test_everything_that_decides_about_answers_is_a_setting(quick: Path) -> None:
    encoder = PageEncoder(
        session=Session.load(quick, shirg=SETTINGS, device="cpu"), method=Method(name="shirg_x", settings=SETTINGS)
    )

    def settings(**changes: Any) -> dict[str, Any]:
        given = {"asked": ASKED, "encoder": encoder, "decoding": SHORT, "budget": 48, "source": {"weights": "w"}}
        return resolved_settings(**{**given, **changes})

    def asked(**changes: Any) -> dict[str, Any]:
        return settings(asked=replace(ASKED, **changes))

    documents = BENCHMARKS["docpage"]
    before, changed = settings(), set[str]()
    for name, after in {
        "benchmark": asked(benchmark=replace(documents, metrics=ASKED.benchmark.metrics)),
        "metrics": asked(benchmark=replace(ASKED.benchmark, metrics=("exact_match",))),
        "split": asked(split="shifted"),
        "style": asked(style="typed"),
        "questions": asked(questions=5),
        "shard": asked(shard=Shard(2, 3)),
        "seed": settings(encoder=replace(encoder, seed=3)),
        "budget": settings(budget=32),
        "weights": settings(source={"weights": "others"}),
        "decoding": settings(decoding=replace(SHORT, threshold=0.5)),
    }.items():
        different = {key for key in before if before[key] != after[key]}
        assert different == ({"budget", "shirg_x"} if name == "budget" else {name})
        changed |= different
    assert changed == set(before) - {"dtype", "data", "method"}
    assert settings(decoding=replace(SHORT, cuda_graph=True)) == before
    encoder.session.model.double()
    assert (before["dtype"], settings()["dtype"]) == ("float32", "float64")
