"""Hundreds of ways to put a question: what is asked for, in the sentence of someone polite, terse or hurried.

A kind has some names for what it asks ("the total of the {column} column"), and all kinds share sentences around such
a name ("Could you look up {thing}?"). None of them begins like a wording of ``SHIFTED_WORDINGS``, which stay unseen.
"""

from collections.abc import Mapping

import numpy as np

from llava.pages.chance import between, happens, pick
from llava.pages.wordings import WORDINGS

SENTENCES = (
    "What is {thing}?", "What's {thing}?", "what is {thing}", "What is {thing}, please?", "Please state {thing}.",
    "State {thing}.", "Can you state {thing}?", "Could you look up {thing}?", "Look up {thing}, please.",
    "I need {thing}.", "I would like to know {thing}.", "I'd like to have {thing}.", "Show me {thing}.",
    "Do you see {thing}?", "Let me know {thing}.", "Return {thing}.", "Extract {thing}.", "Write down {thing}.",
    "Please write {thing}.", "Output {thing} only.", "Answer with {thing}.", "{thing}?", "{thing}", "{thing}, please.",
    "Do you know {thing}?", "Help me with {thing}.", "Going by the page, what is {thing}?",
    "On this page, what is {thing}?", "Looking at the page, what is {thing}?", "From the document: {thing}?",
    "In this picture, what is {thing}?", "Hi, what is {thing}?", "Question: what is {thing}?",
    "What is {thing}? Answer briefly.", "What is {thing}? One line, please.", "Where you can, quote {thing}.",
    "We are missing {thing}.", "Can you make out {thing}?", "Copy {thing} for me.", "What would be {thing} here?",
)  # fmt: skip
"""Around the name of what is asked for."""

THINGS: Mapping[str, tuple[str, ...]] = {
    "color_of": ("the color of the {name}", "the {name}'s color", "the color that the {name} has"),
    "figure_of_color": ("the figure in {color}", "the {color} figure", "the figure drawn in {color}"),
    "count": ("the number of {things}", "the count of {things}", "the total number of {things}"),
    "count_in_column": ("the number of {things} in column {column}", "the count of {things} in column {column}"),
    "count_in_row": ("the number of {things} in row {row}", "the count of {things} in row {row}"),
    "at": ("the figure at row {row}, column {column}", "the drawing at row {row} and column {column}"),
    "code_at": ("the code at row {row}, column {column}", "the code in column {column} of row {row}"),
    "beside": ("the figure directly {side} the {name}", "the neighbor directly {side} the {name}"),
    "code_beside": ("the code directly {side} {code}", "the code that stands directly {side} {code}"),
    "figure_with_code": ("the figure with the code {code}", "the figure above the code {code}"),
    "row_of": ("the row of {name}", "the row that holds {name}"),
    "column_of": ("the column of {name}", "the column that holds {name}"),
    "where": ("the row and column of {name}", "the place of {name}"),
    "chart_value": ("the value for {entry}{where}", "the value of {entry}{where}", "{entry}{where}"),
    "chart_largest": ("the {axis} with the largest value{scope}{where}", "the highest {axis}{scope}{where}"),
    "chart_smallest": ("the {axis} with the smallest value{scope}{where}", "the lowest {axis}{scope}{where}"),
    "chart_difference": (
        "the difference between {entry} and {other}{where}",
        "the gap from {entry} to {other}{where}",
    ),
    "chart_color": ("the color of {name}{where}", "the color that stands for {name}{where}"),
    "chart_by_color": ("the entry drawn in {color}{where}", "the name that {color} stands for{where}"),
    "field": ("the {field}", "the {field} given here", "the text beside {field}", "the entry for {field}", "{field}"),
    "date": ("the {field}", "the day of the {field}", "{field}"),
    "fact": ("the {field} in the text", "the {field} that the text mentions", "the {field}"),
    "cell": (
        "the {column} of {row}",
        "the {column} for {row}",
        "{row}'s {column}",
        "the {column} in the row {row}",
        "the entry under {column} for {row}",
        "the {column} listed for {row}",
    ),
    "row_with": (
        "the row with the {column} {value}",
        "the entry whose {column} is {value}",
        "the one with {value} under {column}",
    ),
    "total": (
        "the total {column}",
        "the total of the {column} column",
        "the sum under {column}",
        "the overall {column}",
    ),
    "below": ("the entry right after {row}", "the row just below {row}", "the entry that follows {row}"),
    "most": ("the row with the highest {column}", "the entry with the most {column}", "the one with the top {column}"),
    "rows": ("the number of rows", "the row count", "the number of entries in the table", "the count of entries"),
}
"""What each kind asks for; ``describe`` asks for no thing."""

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "field": ("What does it say for {field}?", "What is written next to {field}?", "{field}:", "Which {field} is it?"),
    "fact": ("What does the text say about the {field}?", "Which {field} is mentioned?"),
    "cell": ("{row}: {column}?", "{row}, {column}", "What {column} has {row}?", "For {row}, what is the {column}?"),
    "row_with": ("Whose {column} is {value}?", "Where is the {column} {value}?", "Which one has {column} {value}?"),
    "total": ("Total {column}?", "How much {column} is it in all?"),
    "below": ("After {row} comes what?", "What is next after {row}?", "Which row comes behind {row}?"),
    "most": ("Whose {column} is the largest?", "Where is the {column} highest?"),
    "rows": ("How long is the table, in rows?", "How many rows?", "How many lines are in the list?"),
    "describe": ("What is this?", "What am I looking at?", "Sum up the page.", "What is shown?", "Caption this page."),
    "chart_value": ("How high is {entry}{where}?", "{entry}{where}: how much?"),
    "chart_largest": ("Which {axis} wins{scope}{where}?",),
    "count": ("How many {things} do you see?", "How many {things}?"),
    "where": ("Where do I find {name}?",),
}
"""Of kinds that are also asked in sentences of their own."""


def templates(kind: str) -> tuple[str, ...]:
    """Every wording of a kind, by hundreds where it asks for a thing."""
    around = (sentence.replace("{thing}", thing) for thing in THINGS.get(kind, ()) for sentence in SENTENCES)
    return tuple(dict.fromkeys((*WORDINGS[kind], *QUESTIONS.get(kind, ()), *around)))


def put(rng: np.random.Generator, kind: str) -> str:
    """A template for a question of this kind: a wording of its own as often as one of the shared sentences."""
    if kind not in THINGS or happens(rng, 0.5):
        return pick(rng, (*WORDINGS[kind], *QUESTIONS.get(kind, ())))
    return pick(rng, SENTENCES).replace("{thing}", pick(rng, THINGS[kind]))


def mistype(rng: np.random.Generator, question: str, names: tuple[str, ...]) -> str:
    """The question with one slip of the keyboard in a word of small letters, names of ``names`` being left alone.

    Two neighbors change places, or a letter is left out or struck twice.
    """
    kept = {word for name in names for word in name.split()}
    words = question.split(" ")
    places = [
        place
        for place, word in enumerate(words)
        if len(word) > 3 and word.isalpha() and word.islower() and word not in kept
    ]
    if not places:
        return question
    place = pick(rng, places)
    word = words[place]
    at = between(rng, 1, len(word) - 2)
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    words[place] = pick(rng, slips)
    return " ".join(words)
