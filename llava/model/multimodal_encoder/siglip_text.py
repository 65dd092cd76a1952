"""SigLIP's text tower, which puts a question into the space of patch embeddings."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, SiglipTextModel

from llava.model.hub import quiet_loading


class SigLipTextTower(nn.Module):
    """SigLIP's text side with its tokenizer; frozen, it serves scoring only."""

    def __init__(self, model: SiglipTextModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.tokenizer = tokenizer

    @classmethod
    def from_directory(cls, directory: Path) -> "SigLipTextTower":
        """The text tower of a SigLIP repository on disk.

        Raises:
            FileNotFoundError: if the directory lacks the tokenizer or tensors of the text tower.
        """
        mend = "point mm_vision_tower at the full SigLIP repository"
        if not (directory / "tokenizer.json").is_file():
            raise FileNotFoundError(f"{directory} holds no tokenizer.json for SigLIP's text tower; {mend}")
        with quiet_loading():
            try:
                model, info = SiglipTextModel.from_pretrained(
                    directory, output_loading_info=True, use_safetensors=True, local_files_only=True
                )
            except OSError as error:
                raise FileNotFoundError(f"{directory} holds no weights for SigLIP's text tower; {mend}") from error
            # Whatever class the repository names: SiglipTokenizer would want the sentencepiece library for nothing.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id)
        if missing := info["missing_keys"]:
            raise FileNotFoundError(
                f"{directory} lacks {len(missing)} tensors of SigLIP's text tower, such as {min(missing)}; {mend}"
            )
        return cls(model, tokenizer)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(batch, dim) embeddings of texts; words beyond the tower's length (64 tokens) are cut off."""
        length = self.model.config.max_position_embeddings
        ids = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        return self.model(ids.to(self.model.device)).pooler_output
