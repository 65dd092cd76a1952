"""Mutants of the code's functions, put into a process that has imported it already.

Cosmic Ray (https://cosmic-ray.readthedocs.io) makes them; it is installed by ``make mutants``. Importing torch and the
tests takes longer than running one file of them, so a mutant is no file that a new process reads: the changed
functions' code objects take the place of the old ones in a fork of a process that holds everything.
"""

import gc
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

BINARY = {"Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul", "Pow": "Mul"}
BINARY |= {"BitAnd": "BitOr", "BitOr": "BitAnd", "BitXor": "BitAnd", "LShift": "RShift", "RShift": "LShift"}
COMPARISONS = {"Eq": ("NotEq",), "NotEq": ("Eq",), "Lt": ("LtE", "Gt"), "LtE": ("Lt", "Gt"), "Gt": ("GtE", "Lt")}
COMPARISONS |= {"GtE": ("Gt", "Lt"), "Is": ("IsNot",), "IsNot": ("Is",)}
OPERATORS = (
    *(f"ReplaceBinaryOperator_{old}_{new}" for old, new in BINARY.items()),
    *(f"ReplaceComparisonOperator_{old}_{new}" for old, all_new in COMPARISONS.items() for new in all_new),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Invert", "ReplaceUnaryOperator_Delete_Not"),
    *("NumberReplacer", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("AddNot", "ZeroIterationForLoop", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
)
"""Of Cosmic Ray's, those of which no two do nearly the same at a place."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change at one place; ``id`` stays the same while the line does."""

    id: str
    file: str
    line: int
    operator: str
    occurrence: int

    def code(self, source: str) -> str:
        """The file's text with the change."""
        from cosmic_ray.mutating import mutate_code

        return str(mutate_code(source, _operator(self.operator), self.occurrence))

    def change(self, source: str) -> tuple[str, str]:
        """The first line that differs, before and after."""
        pairs = zip(source.splitlines(), self.code(source).splitlines(), strict=False)
        before, after = next(((old, new) for old, new in pairs if old != new), ("", ""))
        return before.strip(), after.strip()


def _operator(name: str) -> Any:
    from cosmic_ray.plugins import get_operator

    return get_operator(f"core/{name}")()


def mutants_of(root: Path, file: str) -> Iterator[Mutant]:
    """All mutants of lines that belong to functions; not every one changes what a function does."""
    from cosmic_ray.ast import ast_nodes, get_ast

    source = (root / file).read_text()
    lines, nodes = source.splitlines(), list(ast_nodes(get_ast(source)))
    spans = [range(code.co_firstlineno, _last_line(code) + 1) for code in functions_of(source, file).values()]
    inside = {line for span in spans for line in span}
    seen: Counter[tuple[str, str]] = Counter()
    for name in OPERATORS:
        operator = _operator(name)
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(places):
            text = lines[line - 1].strip()
            seen[name, text] += 1
            if line in inside:
                key = f"{file} {name} {text} {seen[name, text]}"
                digest = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
                yield Mutant(id=digest, file=file, line=line, operator=name, occurrence=occurrence)


def changed_functions(source: str, mutant: Mutant) -> dict[tuple[str, int], CodeType]:
    """The functions that a mutant changes, with their new code; none for one in the name of a type, or in a default,
    which is made once."""
    before, after = functions_of(source, mutant.file), functions_of(mutant.code(source), mutant.file)
    return {key: code for key, code in after.items() if before.get(key) != code}


def _last_line(code: CodeType) -> int:
    inner = [_last_line(part) for part in code.co_consts if isinstance(part, CodeType)]
    return max([line for _, _, line in code.co_lines() if line] + inner, default=code.co_firstlineno)


@lru_cache(maxsize=256)
def functions_of(source: str, file: str) -> Mapping[tuple[str, int], CodeType]:
    """The code of functions and methods by their names, and their numbers among those of one name; what stands inside
    of a function is part of it."""
    found: dict[tuple[str, int], CodeType] = {}
    count: Counter[str] = Counter()

    def look(code: CodeType) -> None:
        for part in code.co_consts:
            if not isinstance(part, CodeType):
                continue
            if "__annotate__" in part.co_name or part.co_name.startswith("<"):
                continue
            if part.co_flags & 0x02:  # CO_NEWLOCALS: a function; a class has none of its own
                found[part.co_qualname, count[part.co_qualname]] = part
                count[part.co_qualname] += 1
            else:
                look(part)

    look(compile(source, file, "exec", dont_inherit=True))
    return found


def put_in(root: Path, mutant: Mutant) -> int:
    """Change the functions of this process that a mutant changes; gives how many were found."""
    changed = changed_functions((root / mutant.file).read_text(), mutant)
    held: dict[str, dict[int, list[FunctionType]]] = defaultdict(lambda: defaultdict(list))
    for thing in gc.get_objects():
        # Not isinstance, for which some objects load modules.
        if type(thing) is FunctionType and Path(thing.__code__.co_filename) == root / mutant.file:
            held[thing.__code__.co_qualname][thing.__code__.co_firstlineno].append(thing)
    total = 0
    for (name, number), code in changed.items():
        by_line = sorted(held[name].items())
        for function in by_line[number][1] if number < len(by_line) else ():
            if function.__code__.co_freevars == code.co_freevars:
                function.__code__ = code
                total += 1
    return total
