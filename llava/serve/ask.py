"""``lavida ask``: answers to questions about one page, or to the same questions about many."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from llava.inference.words import check_question
from llava.serve.display import AnswerDisplay, note, print_json, print_row
from llava.serve.files import check_film, check_picture, numbered, write_picture
from llava.serve.requests import checkpoint_of, decoding_of, encode_page, load_session, open_page, record, summary
from llava.serve.truth import find_truth

if TYPE_CHECKING:
    from llava.inference.answer import Answer, EncodedImage
    from llava.inference.checkpoint import Checkpoint
    from llava.inference.session import Session

DRAWN = ("heatmap", "boxes", "film")
"""Options that name a file to be drawn of every answer."""


def run(args: argparse.Namespace) -> None:
    """Answer the questions in order; a page is encoded once.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    if args.question_file is not None:
        _ask_many(args)
        return
    questions = [check_question(question) for question in args.questions]
    decoding = decoding_of(args, stop=not args.no_stop)
    if args.evidence is not None and (args.boxes is None or len(questions) > 1):
        raise ValueError("--evidence says where one answer stands, for --boxes to frame; add --boxes, ask one question")
    drawings = {option: _named(args, option, len(questions)) for option in DRAWN}
    checkpoint = checkpoint_of(args)
    picture = open_page(args, checkpoint)
    stock = checkpoint.shirg.mode == "stock"
    if drawings["heatmap"] and stock:
        raise ValueError("--heatmap shows what SHIRG-X keeps, but the settings say mode: stock; leave one of them out")
    known = [find_truth(args.image, args.page, question, picture.image, args.evidence) for question in questions]
    if drawings["boxes"] and stock and not all(truth.answer or truth.evidence for truth in known):
        raise ValueError(
            "--boxes has nothing to draw: without SHIRG-X nothing is chosen, and it is not known where the answer "
            "stands; name the place by --evidence"
        )
    session = load_session(args, checkpoint)
    for question in questions:
        session.check_question(question, decoding.max_new_tokens)
    page = encode_page(session, picture)
    display = AnswerDisplay(session.decode, mask_id=session.model.config.mask_token_id)
    for index, question in enumerate(questions):
        if args.json:
            answer = session.answer(page, question, decoding=decoding, seed=args.seed)
        else:
            display.show_question(question)
            with display.denoising() as on_step:
                answer = session.answer(page, question, decoding=decoding, seed=args.seed, on_step=on_step)
            display.show_answer(answer.text, summary(answer))
        if drawings["heatmap"]:
            write_picture(answer.heatmap(), Path(drawings["heatmap"][index]))
        if drawings["boxes"]:
            framed = answer.boxes(answer=known[index].answer, evidence=known[index].evidence)
            write_picture(framed, Path(drawings["boxes"][index]))
        if drawings["film"]:
            session.film(answer).save(drawings["film"][index])
        if args.json:
            drawn = {option: names[index] if names else None for option, names in drawings.items()}
            told = {"question": question, "answer": answer.text, "doubt": answer.doubt}
            print_json({**told, **record(args, answer), **drawn})
        elif args.verbose and not display.watched:
            note(summary(answer))
        if answer.doubt is not None:
            note(f"{question}: {answer.doubt}")


def _named(args: argparse.Namespace, option: str, count: int) -> list[str]:
    """The names of the files that an option asks for, one for each question, once all can be written; else none."""
    name = getattr(args, option)
    names = [] if name is None else numbered(name, count)
    for each in names:
        if option == "film":
            check_film(each, args.image)
        else:
            check_picture(each, args.image, f"--{option}")
    return names


def _ask_many(args: argparse.Namespace) -> None:
    """Every question of a file about every page; pages that cannot be read are told, and the others are answered."""
    for option in (*DRAWN, "evidence"):
        if getattr(args, option) is not None:
            raise ValueError(f"--{option} is for drawing one page's questions; leave out --questions or --{option}")
    questions = read_questions(args.question_file)
    decoding = decoding_of(args, stop=not args.no_stop)
    paths = [args.image, *args.questions]
    checkpoint = checkpoint_of(args)
    session = load_session(args, checkpoint)
    for question in questions:
        session.check_question(question, decoding.max_new_tokens)
    asked: deque[tuple[str, str]] = deque()
    broken: list[str] = []
    progress = Progress(console=Console(stderr=True), transient=True)
    with progress if progress.console.is_interactive else nullcontext():
        task = progress.add_task("questions", total=len(paths) * len(questions))
        pairs = _pairs(args, checkpoint, session, paths, questions, asked, broken)
        for answer in session.answers(pairs, decoding=decoding, seed=args.seed):
            path, question = asked.popleft()
            _tell(args, path, question, answer)
            progress.advance(task)
    if broken:
        raise ValueError(f"{len(broken)} of {len(paths)} pages could not be read, and the others were answered")


def _pairs(
    args: argparse.Namespace,
    checkpoint: Checkpoint,
    session: Session,
    paths: list[str],
    questions: list[str],
    asked: deque[tuple[str, str]],
    broken: list[str],
) -> Iterator[tuple[EncodedImage, str]]:
    """Pages with their questions, as they are needed; notes in ``asked`` what was given, in ``broken`` what was not."""
    for path in paths:
        try:
            page = encode_page(session, open_page(_about(args, path), checkpoint))
        except (ValueError, OSError) as error:
            note(str(error))
            broken.append(path)
            continue
        for question in questions:
            asked.append((path, question))
            yield page, question


def _about(args: argparse.Namespace, path: str) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), "image": path})


def _tell(args: argparse.Namespace, path: str, question: str, answer: Answer) -> None:
    if args.json:
        told = {"question": question, "answer": answer.text, "doubt": answer.doubt}
        print_json({**told, **record(_about(args, path), answer), **dict.fromkeys(DRAWN)})
    else:
        print_row(path, question, answer.text)
    if answer.doubt is not None:
        note(f"{path}: {question}: {answer.doubt}")


def read_questions(path: str) -> list[str]:
    """The questions of a text file, one on each line.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no text, holds no question, or one cannot be asked, naming its line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--questions {path} is not UTF-8 text ({error}); save it as UTF-8") from error
    questions = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                questions.append(check_question(line))
            except ValueError as error:
                raise ValueError(f"--questions {path}, line {number}: {error}") from error
    if not questions:
        raise ValueError(f"--questions {path} holds no question; write one on each line")
    return questions
