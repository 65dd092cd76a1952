"""What all command lines are parsed with."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn


class UsageError(ValueError):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """Raises instead of printing its usage and leaving, so that every refusal takes the same way out."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def add_command(commands: Any, name: str, purpose: str, examples: str) -> Parser:
    """A command of ``lavida``, run by the module of its name."""
    parser: Parser = commands.add_parser(
        name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", epilog=examples
    )
    parser.set_defaults(command=name, module=name.replace("-", "_"))
    return parser


def add_debug(parser: argparse._ActionsContainer) -> None:
    """The option that every command has."""
    parser.add_argument("--debug", action="store_true", help="the same in detail, and tracebacks of unexpected errors")


def positive(text: str) -> int:
    """A whole number of at least 1, as an option's type."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return number


def in_place_of(words: argparse.Action) -> type[argparse.Action]:
    """The action of an option with which ``words`` may be left out.

    Words of any number would do without it, but argparse then takes none where an option stands before them.
    """

    class InPlaceOf(argparse.Action):
        def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
            setattr(namespace, self.dest, values)
            words.required = False

    return InPlaceOf


def read_changes(changes: Sequence[str]) -> dict[str, Any]:
    """The values of ``--set NAME=VALUE ...`` by name, read as YAML.

    Raises:
        ValueError: if there is no equals sign, or the value is not YAML.
    """
    import yaml

    found = {}
    for change in changes:
        name, separator, value = change.partition("=")
        if not separator:
            raise ValueError(f"--set wants NAME=VALUE, got {change!r}")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {change}: the value is not YAML; {error}") from error
    return found
