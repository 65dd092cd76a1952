"""``lavida data``: what a run would train on, before it does."""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

from llava.serve.train import settings_of
from llava.train.reading.config import ReadingConfig


def run(args: argparse.Namespace) -> None:
    """Print the table, and write the page of examples; the last line on stdout is where that lies.

    Raises:
        FileNotFoundError, ValueError: for bad input, and for data that a run would refuse, in one sentence.
    """
    config = settings_of(args)
    if isinstance(config, ReadingConfig):
        raise ValueError("crops of print are drawn while a tower trains; there are no data to look at")
    from llava.train.datasets import look_at_data
    from llava.train.survey import draw_examples, survey_rows, write_sheet

    with redirect_stdout(sys.stderr):
        looked_at = look_at_data(config, max_missing_images=1.0)
        rows = survey_rows(config, looked_at)
        examples = list(draw_examples(config, looked_at, args.examples))
        sheet = write_sheet(examples, rows, Path(config.out) / "data" if args.sheet is None else args.sheet)
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value}" for name, value in rows))
    if looked_at.report is not None:
        looked_at.report.refuse_above(config.max_missing_images)
    print(sheet)
