"""``lavida ask``: answers to questions about one page."""

import argparse

from llava.inference.words import check_question
from llava.serve.display import AnswerDisplay, note, print_json
from llava.serve.files import check_picture, numbered, write_picture
from llava.serve.requests import checkpoint_of, decoding_of, encode_page, load_session, open_page, record, summary


def run(args: argparse.Namespace) -> None:
    """Answer the questions in order; the page is encoded once.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    questions = [check_question(question) for question in args.questions]
    decoding = decoding_of(args, stop=not args.no_stop)
    names = numbered(args.heatmap, len(questions)) if args.heatmap is not None else []
    pictures = [check_picture(name, args.image) for name in names]
    checkpoint = checkpoint_of(args)
    picture = open_page(args, checkpoint)
    if pictures and checkpoint.shirg.mode == "stock":
        raise ValueError("--heatmap shows what SHIRG-X keeps, but the settings say mode: stock; leave one of them out")
    session = load_session(args, checkpoint)
    for question in questions:
        session.check_words(question)
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
        if pictures:
            write_picture(answer.heatmap(), pictures[index])
        if args.json:
            drawn = names[index] if names else None
            print_json({"question": question, "answer": answer.text, **record(args, answer), "heatmap": drawn})
        elif args.verbose and not display.watched:
            note(summary(answer))
