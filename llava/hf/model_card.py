"""Model cards: what a checkpoint is, how to use it, and what was measured of it, or that nothing was."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import PreTrainedModel

from llava.files import write_text
from llava.model.language_model.lavida_config import LavidaConfig
from shirg.config import ShirgXConfig

CARD_FILE = "README.md"
Measured = Sequence[str | os.PathLike[str]]
"""Directories of finished results, as ``lavida eval`` writes them."""


def write_card(directory: Path, config: LavidaConfig, measured: Measured = (), *, name: str | None = None) -> None:
    """Write a checkpoint's card, unless one lies there already.

    Raises:
        FileNotFoundError, ValueError: if what was measured cannot be read.
    """
    if measured or not (directory / CARD_FILE).exists():
        write_text(draw_card(config, measured, name=name or directory.name), directory / CARD_FILE)


def draw_card(config: LavidaConfig, measured: Measured = (), *, name: str) -> str:
    """The card's text: Markdown, with the hub's metadata in front.

    Raises:
        FileNotFoundError, ValueError: if what was measured cannot be read.
    """
    shirg = None if config.shirg_x is None else ShirgXConfig.from_dict(config.shirg_x)
    patched = shirg is not None and shirg.mode != "stock"
    tags = ["lavida", "masked-diffusion", "document-question-answering", *(["shirg-x"] if patched else [])]
    parts = [
        "---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\ntags:\n"
        + "".join(f"- {tag}\n" for tag in tags)
        + "---\n",
        f"# {name}\n",
        f"LaViDa (`{config.model_type}`) answers questions about pictures by masked diffusion. {_encoding(shirg)}\n",
        *([f"{config.about}\n"] if isinstance(getattr(config, "about", None), str) else []),
        "## Use\n",
        _USE.format(name=name),
        "## What was measured\n",
        _measured(measured),
    ]
    return "\n".join(parts)


def push_with_card(
    model: PreTrainedModel,
    repo_id: str,
    *,
    measured: Measured = (),
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    max_shard_size: int | str = "50GB",
    **options: Any,
) -> str:
    """Upload what ``model.save_pretrained`` writes, with a card of this module; a card that the repository has stays,
    unless something was measured. Gives the commit's address.

    Args:
        revision: a branch, made where it does not exist.
        options: of the commit, as huggingface_hub's ``upload_folder`` takes them (``commit_message``, ...).
    """
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    if revision is not None and not options.get("create_pr"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    has_card = api.file_exists(repo_id, CARD_FILE, revision=revision)
    with tempfile.TemporaryDirectory() as folder:
        # The card bears the folder's name.
        place = Path(folder) / repo_id.rpartition("/")[2]
        model.save_pretrained(place, measured=measured, max_shard_size=max_shard_size)
        if has_card and not measured:
            (place / CARD_FILE).unlink()
        return str(api.upload_folder(repo_id=repo_id, folder_path=place, revision=revision, **options))


_USE = """```bash
pip install lavida-shirg
```

```python
import llava.hf
from transformers import pipeline

answer = pipeline("image-text-to-text", model="{name}")
content = [{{"type": "image", "path": "page.png"}}, {{"type": "text", "text": "What is the total?"}}]
print(answer(text=[{{"role": "user", "content": content}}], return_full_text=False))
```

No code of this repository runs: the model's code is in the package.
"""


def _encoding(shirg: ShirgXConfig | None) -> str:
    if shirg is None or shirg.mode == "stock":
        return "Pictures are encoded as LaViDa does."
    budget = (
        f"{shirg.budget} sharp tokens" if isinstance(shirg.budget, int) else f"sharp tokens (budget {shirg.budget})"
    )
    return f"SHIRG-X keeps {budget} of a page beside a scaffold of {shirg.scaffold_tokens}, by the question."


def _measured(directories: Measured) -> str:
    if not directories:
        return "Nothing was measured of this checkpoint when it was saved.\n"
    from llava.eval.results import read_finished  # evaluation is no part of loading and asking a model
    from llava.eval.summary import format_score

    rows = [["benchmark", "questions", "metric", "mean and 95 % interval", "commit", "device"], ["---"] * 6]
    for directory in directories:
        summary, _ = read_finished(Path(directory))
        settings, origin = summary["settings"], (summary.get("provenance") or [{}])[-1]
        for metric, score in summary["scores"].items():
            named = str(settings.get("benchmark", Path(directory).name))
            counted = f"{summary['num_questions']:,}"
            where = [str(origin.get("commit", "unknown")), str(origin.get("device", "unknown"))]
            rows.append([named, counted, metric, format_score(score), *where])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
