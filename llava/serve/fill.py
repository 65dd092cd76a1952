"""``lavida fill``: a template whose gaps the model fills with what a page shows."""

import argparse

from llava.inference.words import Template
from llava.serve.display import AnswerDisplay, note, print_json
from llava.serve.requests import checkpoint_of, decoding_of, encode_page, load_session, open_page, record, summary


def run(args: argparse.Namespace) -> None:
    """Fill the template and show it.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    template = Template.parse(args.template)
    decoding = decoding_of(args, stop=False)
    if template.num_masked > args.tokens:
        raise ValueError(
            f"the gaps of the template take {template.num_masked} tokens, more than the {args.tokens} of the answer; "
            "raise --tokens or shorten them"
        )
    checkpoint = checkpoint_of(args)
    picture = open_page(args, checkpoint)
    session = load_session(args, checkpoint)
    session.draft(template, args.tokens)
    session.check_question(template.instruction, args.tokens)
    page = encode_page(session, picture)
    if args.json:
        filled = session.fill(page, template, decoding=decoding, seed=args.seed)
        text = {"template": template.text, "text": filled.text, "gaps": list(filled.gaps), "doubt": filled.doubt}
        print_json({**text, **record(args, filled)})
    else:
        display = AnswerDisplay(session.decode, mask_id=session.model.config.mask_token_id)
        with display.denoising() as on_step:
            filled = session.fill(page, template, decoding=decoding, seed=args.seed, on_step=on_step)
        display.show_answer(filled.text, summary(filled))
        if args.verbose and not display.watched:
            note(summary(filled))
    if filled.doubt is not None:
        note(filled.doubt)
