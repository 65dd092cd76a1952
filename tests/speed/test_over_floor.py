"""How far a stage is from the least it can take: all between pixels and prompt counts as the vision path."""

from types import SimpleNamespace

import pytest
import torch

from llava.speed import latency
from llava.speed.floors import language_weights, peaks_of, prefill_flops, projector_flops, vision_flops
from llava.speed.latency import SELECTION, _over_floor
from shirg.config import ShirgXConfig
from tests.losses_helpers import fresh_model

STAGES = {
    "encode": 2.0,
    "similarity": 3.0,
    "project": 5.0,
    "prefill": 7.0,
    "step": 11.0,
    "answer": 1e6,
    "preprocess": 1e6,
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch):
    """The sizes of a small model, as if it lay on a GPU."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    real = fresh_model()
    return SimpleNamespace(
        device=torch.device("cuda"), dtype=torch.bfloat16, config=real.config, get_vision_tower=real.get_vision_tower
    )


def test_selection_is_part_of_the_vision_path(model):
    config, peaks = ShirgXConfig(grid=12, budgets=(29,), budget=29), peaks_of("H100")
    stages = STAGES | {name: 13.0 * 2**number for number, name in enumerate(SELECTION)}
    found = _over_floor(model, config, stages, views=1, prefix=83, visual=37)
    tower = model.get_vision_tower()
    least = vision_flops(tower.config, tower.num_layers_run, 144) + projector_flops(32, 32, 37)
    path = 2.0 + 3.0 + 5.0 + 13.0 * (2 ** len(SELECTION) - 1)
    assert found["vision_path"] == pytest.approx(path / 1e3 / (least / peaks.flops_per_second))
    assert found["prefill"] == pytest.approx(7.0 / 1e3 / (prefill_flops(model.config, 83) / peaks.flops_per_second))
    assert found["step"] == pytest.approx(11.0 / 1e3 / (2 * language_weights(model.config) / peaks.bytes_per_second))
    slower = _over_floor(model, config, stages | {SELECTION[-1]: 1000.0}, views=1, prefix=83, visual=37)
    assert slower["vision_path"] > found["vision_path"]


def test_a_stage_that_a_configuration_has_not_costs_nothing(model):
    config = ShirgXConfig(grid=12, budgets=(29,), budget=29)
    stages = {name: value for name, value in STAGES.items() if name != "similarity"} | dict.fromkeys(SELECTION, 1.0)
    less = _over_floor(model, config, stages, views=1, prefix=83, visual=37)
    more = _over_floor(model, config, stages | {"similarity": 3.0}, views=1, prefix=83, visual=37)
    assert more["vision_path"] / less["vision_path"] == pytest.approx(1 + 3 / (7 + len(SELECTION)))


def test_unknown_devices_have_no_floor(model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "another")
    assert latency._over_floor(model, ShirgXConfig(), STAGES, views=1, prefix=83, visual=37) is None
