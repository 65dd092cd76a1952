"""One of two processes dies: all end, with a code that tells it, and both go on from the last whole checkpoint."""

import subprocess
import sys
from pathlib import Path

import pytest

from llava.train.config import TrainConfig
from llava.train.train import prepare_run
from tests.train_helpers import (
    ROOT,
    environment,
    free_port,
    logged,
    make_checkpoint,
    run_script,
    settings,
    write_config,
)

pytestmark = pytest.mark.long

STEPS = 4


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_all_and_a_resume_has_the_losses_of_a_whole_run(tmp_path: Path, rank: int) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    trainer = {"max_steps": STEPS, "save_steps": 2, "save_total_limit": 9, "lr_scheduler_type": "cosine"}
    whole = settings(checkpoint, tmp_path / "whole", trainer={**trainer, "per_device_train_batch_size": 4})
    prepare_run(TrainConfig.from_dict(whole)).train()

    out = tmp_path / "run"
    config = write_config(tmp_path, settings(checkpoint, out, trainer={**trainer, "per_device_train_batch_size": 2}))
    launch = [sys.executable, "-m", "llava.train.launch", "--nproc-per-node", "2", "--master-port", str(free_port())]
    died = subprocess.run(
        [*launch, "-m", "tests.dying_rank", "4", str(rank), str(config)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    # 128 and the number of the signal, as shells tell it; or the word of the other, which had lost its partner.
    assert died.returncode in (137, 1), died.stderr[-3000:]
    assert not (out / "final").exists()
    assert sorted(place.name for place in out.glob("checkpoint-*")) == ["checkpoint-2"]

    run_script(config, "--resume", processes=2, timeout=900)
    found, wanted = logged(out), logged(tmp_path / "whole")
    assert [entry["step"] for entry in found] == list(range(1, STEPS + 1))
    for entry, right in zip(found, wanted, strict=True):
        for name in ("loss", "loss_denoising", "loss_coordinate"):
            assert entry[name] == pytest.approx(right[name], rel=1e-4)
        assert entry.get("loss_budget") == pytest.approx(right.get("loss_budget"), rel=1e-4)
