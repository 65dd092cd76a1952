"""What a run leaves for users: an adapter, or a full checkpoint, beside the settings that made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from llava.files import replacing_directory, write_json, write_text
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.provenance import provenance
from llava.train.config import TrainConfig
from llava.tuning.adapter import save_adapter
from shirg.config import ShirgXConfig


@dataclass(frozen=True, kw_only=True)
class Export:
    """Writes models that users load: `lavida ask --adapter DIR` for LoRA, `--model DIR` for everything."""

    config: TrainConfig
    lavida: LavidaForMaskedDiffusion
    tokenizer: PreTrainedTokenizerBase

    def write(self, directory: Path, state: Mapping[str, Tensor] | None, results: Mapping[str, Any]) -> None:
        """Replace ``directory`` as a whole, so that an interruption leaves the old or the new, never a mixture.

        Args:
            state: gathered weights of the model where ZeRO-3 has spread them over processes.
            results: what was measured, written to ``results.json`` with the commit and the machine.
        """
        with replacing_directory(directory) as fresh:
            if self.config.trainable.scope == "everything":
                self._write_checkpoint(fresh, state)
            else:
                save_adapter(
                    self.lavida,
                    fresh,
                    self.config.trainable,
                    state_dict=state,
                    base=self.config.model,
                    shirg_x=self._shirg_x(),
                )
            write_text(yaml.safe_dump(self.config.to_dict(), sort_keys=False), fresh / "train.yaml")
            write_json({**results, "made_by": provenance(self.lavida.device)}, fresh / "results.json")

    def _shirg_x(self) -> ShirgXConfig | None:
        """What users run with: in training the budget is drawn anew in each step, whatever was asked for."""
        if self.config.shirg_x is None:
            return None
        return self.config.shirg_x.replace(similarity=self.lavida.config.shirg_x["similarity"])

    def _write_checkpoint(self, directory: Path, state: Mapping[str, Tensor] | None) -> None:
        wanted = self._shirg_x()
        if wanted is not None:
            self.lavida.config.shirg_x = wanted.to_dict()
        self.lavida.save_pretrained(directory, state_dict=None if state is None else dict(state))
        self.tokenizer.save_pretrained(directory)
