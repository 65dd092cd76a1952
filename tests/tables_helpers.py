"""Small local copies of public sets, in the schemas they have on the hub."""

from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from llava.eval.benchmarks.benchmark import BenchmarkSample
from llava.eval.benchmarks.registry import BENCHMARKS

TEXT = datasets.Value("string")
TEXTS = datasets.List(TEXT)
IMAGE = datasets.Image()
SCHEMAS = {
    "chartqa": {"type": TEXT, "question": TEXT, "answer": TEXT, "image": IMAGE},
    "docvqa": {
        "questionId": TEXT,
        "question": TEXT,
        "question_types": TEXTS,
        "image": IMAGE,
        "docId": datasets.Value("int64"),
        "ucsf_document_id": TEXT,
        "ucsf_document_page_no": TEXT,
        "answers": TEXTS,
        "data_split": TEXT,
    },
    "infovqa": {
        "questionId": TEXT,
        "question": TEXT,
        "answers": TEXTS,
        "answer_type": TEXTS,
        "image": IMAGE,
        "image_url": TEXT,
        "operation/reasoning": TEXTS,
        "ocr": TEXT,
        "data_split": TEXT,
    },
    "textvqa": {
        "image_id": TEXT,
        "question_id": datasets.Value("int32"),
        "question": TEXT,
        "question_tokens": TEXTS,
        "image": IMAGE,
        "answers": TEXTS,
        "ocr_tokens": TEXTS,
    },
    "ocrbench": {"dataset": TEXT, "question": TEXT, "question_type": TEXT, "answer": TEXTS, "image": IMAGE},
}
FORMULA = "Handwritten Mathematical Expression Recognition"
DOCVQA_CARD = """---
configs:
- config_name: DocVQA
  data_files: [{split: validation, path: pages/validation-*}]
- config_name: InfographicVQA
  data_files: [{split: validation, path: infographics/validation-*}]
---
"""


def picture(width: int) -> dict[str, Any]:
    file = BytesIO()
    Image.linear_gradient("L").resize((width, 19)).convert("RGB").save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def write_split(folder: Path, name: str, rows: list[dict[str, Any]], *, split: str | None = None, **types: Any) -> Path:
    """A split's file as downloaded from the hub, some columns of other ``types``; what a row leaves out is None."""
    schema = datasets.Features({**SCHEMAS[name], **types})
    columns = {column: [row.get(column) for row in rows] for column in schema}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{split or BENCHMARKS[name].splits[0]}-00000-of-00001.parquet"
    datasets.Dataset.from_dict(columns, features=schema).to_parquet(str(file))
    return folder


def samples_of(name: str, data: Path, split: str | None = None) -> list[BenchmarkSample]:
    benchmark = BENCHMARKS[name]
    return list(benchmark.samples(split=split or benchmark.splits[0], data=str(data)))


def chart_rows(count: int = 5) -> list[dict[str, Any]]:
    """Two questions to a chart, and the first chart once more at the end."""
    widths = [23 + number // 2 for number in range(count - 1)] + [23]
    return [
        {
            "type": "human_test" if number < 3 else "augmented_test",
            "question": f"How many bars of {number}? ",
            "answer": str(number),
            "image": picture(width),
        }
        for number, width in enumerate(widths)
    ]
