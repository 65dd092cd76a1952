"""Pages in LLaVA's conversation format."""

from typing import Any

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.pages.page import Page


def page_records(page: Page, name: str, image: str) -> list[dict[str, Any]]:
    """One record per question of a page: id, image file, a human and a gpt turn, and boxes in [0, 1].

    ``boxes`` holds ``answer`` and ``evidence`` as lists of (x0, y0, x1, y1); ``kind`` is the kind of question.
    """
    return [
        {
            "id": f"{name}-{index}",
            "image": image,
            "kind": question.kind,
            "conversations": [
                {"from": "human", "value": f"{DEFAULT_IMAGE_TOKEN}\n{question.question}"},
                {"from": "gpt", "value": question.answer},
            ],
            "boxes": {
                "answer": [list(box) for box in question.answer_boxes],
                "evidence": [list(box) for box in question.evidence],
            },
        }
        for index, question in enumerate(page.questions)
    ]
