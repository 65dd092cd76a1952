"""How questions are put, by kind. Train and shifted wordings share no template.

``where`` is empty or names the chart, as in " in the chart Rainfall".
"""

from collections.abc import Mapping

WORDINGS: Mapping[str, tuple[str, ...]] = {
    "color_of": ("What color is the {name}?", "Which color does the {name} have?", "What is the color of the {name}?"),
    "figure_of_color": ("What is {color}?", "Which figure is {color}?", "What figure has the color {color}?"),
    "count": ("How many {things} are there?", "How many {things} are on the page?", "Count the {things}."),
    "count_in_column": ("How many {things} are in column {column}?", "Count the {things} in column {column}."),
    "count_in_row": ("How many {things} are in row {row}?", "Count the {things} in row {row}."),
    "at": (
        "What is at row {row}, column {column}?",
        "What is in column {column} of row {row}?",
        "Which figure is in row {row}, column {column}?",
    ),
    "code_at": ("Which code is at row {row}, column {column}?", "What code is in column {column} of row {row}?"),
    "beside": ("What is directly {side} the {name}?", "Which figure is directly {side} the {name}?"),
    "code_beside": ("Which code is directly {side} {code}?", "What code is directly {side} the code {code}?"),
    "figure_with_code": ("Which figure has the code {code}?", "What is drawn above the code {code}?"),
    "row_of": ("In which row is {name}?", "Which row holds {name}?"),
    "column_of": ("In which column is {name}?", "Which column holds {name}?"),
    "where": ("Where is {name}?", "At which row and column is {name}?"),
    "chart_value": (
        "What is the value for {entry}{where}?",
        "What value does {entry} have{where}?",
        "How much is {entry}{where}?",
    ),
    "chart_largest": ("Which {axis} has the largest value{scope}{where}?", "Which {axis} is highest{scope}{where}?"),
    "chart_smallest": ("Which {axis} has the smallest value{scope}{where}?", "Which {axis} is lowest{scope}{where}?"),
    "chart_difference": (
        "What is the difference between {entry} and {other}{where}?",
        "By how much do {entry} and {other} differ{where}?",
    ),
    "chart_color": ("What color stands for {name}{where}?", "What is the color of {name}{where}?"),
    "chart_by_color": ("What is drawn in {color}{where}?", "Which entry is {color}{where}?"),
    "field": ("What is the {field}?", "Which {field} is given?", "What {field} is on the page?"),
    "date": ("What is the {field}?", "Which day is the {field}?", "When is the {field}?"),
    "fact": ("What is the {field} in the text?", "Which {field} does the text give?"),
    "cell": ("What is the {column} of {row}?", "Which {column} does {row} have?", "What is the {column} for {row}?"),
    "row_with": ("Which row has the {column} {value}?", "What has the {column} {value}?"),
    "total": ("What is the total {column}?", "What does the {column} column sum to?"),
    "below": ("What comes right after {row}?", "Which entry stands below {row}?", "What is listed next after {row}?"),
    "most": ("Which row has the highest {column}?", "Which has the most {column}?", "What has the largest {column}?"),
    "rows": ("How many rows does the table have?", "How many entries are listed?", "Count the rows."),
    "describe": ("What does the page show?", "What kind of page is this?", "Describe the page."),
}

CAPTIONS = frozenset({"describe"})
"""Kinds that are answered from the page as a whole."""
DETAILS = frozenset(WORDINGS) - CAPTIONS
"""Kinds that are answered from some of its patches."""

SHIFTED_WORDINGS: Mapping[str, tuple[str, ...]] = {
    "color_of": ("Name the color of the {name}.", "The {name} is of which color?"),
    "figure_of_color": ("Name the figure that is {color}.", "Tell me what was drawn in {color}."),
    "count": ("Tell me the number of {things}.", "Give the number of {things} shown."),
    "count_in_column": (
        "Tell me the number of {things} in column {column}.",
        "Column {column} holds how many {things}?",
    ),
    "count_in_row": ("Tell me the number of {things} in row {row}.", "Row {row} holds how many {things}?"),
    "at": ("Name what stands in row {row} under column {column}.", "Row {row}, column {column}: what do you see?"),
    "code_at": ("Read the code in row {row}, column {column}.", "Row {row}, column {column}: which code?"),
    "beside": ("Name the neighbor {side} the {name}.", "Just {side} the {name}, what do you see?"),
    "code_beside": ("Read the code just {side} {code}.", "Just {side} {code}, which code do you see?"),
    "figure_with_code": ("Name the figure labeled {code}.", "{code} is the code of what?"),
    "row_of": ("Give the row of {name}.", "Name the row where {name} stands."),
    "column_of": ("Give the column of {name}.", "Name the column where {name} stands."),
    "where": ("Give row and column of {name}.", "Find {name}: row and column?"),
    "chart_value": ("Read off {entry}{where}.", "Give the number for {entry}{where}."),
    "chart_largest": ("Name the {axis} that leads{scope}{where}.", "The top {axis}{scope}{where} is?"),
    "chart_smallest": ("Name the {axis} that comes last{scope}{where}.", "The bottom {axis}{scope}{where} is?"),
    "chart_difference": (
        "How far apart are {entry} and {other}{where}?",
        "Subtract the lesser of {entry} and {other}{where}.",
    ),
    "chart_color": ("Name the color used for {name}{where}.", "{name} is shown in which color{where}?"),
    "chart_by_color": ("Name the entry shown in {color}{where}.", "The color {color} stands for what{where}?"),
    "field": ("Tell me the {field}.", "Read off the {field}."),
    "date": ("Tell me the date of the {field}.", "Read the day given as {field}."),
    "fact": ("According to the sentences, how much or what is the {field}?", "Find the {field} in the running text."),
    "cell": ("Read the {column} in the row {row}.", "{row}: what {column} is listed?"),
    "row_with": ("Name the row whose {column} reads {value}.", "{value} is the {column} of which row?"),
    "total": ("Give the sum of the column {column}.", "Read the bottom line under {column}."),
    "below": ("Name what follows {row} in the list.", "{row} is followed by what?"),
    "most": ("Name the row that tops the column {column}.", "The {column} column: whose is the greatest?"),
    "rows": ("Tell me the number of rows.", "Of how many lines is the table made?"),
    "describe": ("Say in a few words what you see here.", "Which parts is this page made of?"),
}
