"""Tables with images inside, from the hub or a directory, read with ``datasets`` (the ``eval`` and ``train`` extras).

A table stays on disk. Its texts are read in batches of rows, and each image alone, when it is asked for.
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from llava.constants import EXTRA
from llava.image_io import decode_image, load_image

if TYPE_CHECKING:
    import datasets

_ROWS_AT_ONCE = 1000


def open_table(
    name: str,
    *,
    hub: str,
    split: str,
    config: str | None = None,
    location: str | Path | None = None,
    mend: str = "check the directory or the connection",
) -> "datasets.Dataset":
    """One split of a set of tables.

    Args:
        name: what errors call the set.
        hub: its repository, read where no ``location`` is given.
        config: the repository's configuration, where it has several.
        location: a directory with a copy of the repository, of the configuration's folder, or of the split's files.
        mend: what an error about the tables advises.

    Raises:
        ValueError: if ``datasets`` is not installed, or the tables are missing, unreachable or broken.
    """
    try:
        import datasets
    except ImportError as error:
        raise ValueError(f"{name} is read with the package datasets; pip install '{EXTRA}' brings it") from error
    place = hub if location is None else str(location)
    try:
        with _progress_bars(shown=sys.stderr.isatty()):
            if location is not None:
                place, config = _within(Path(location), config)
            return datasets.load_dataset(place, config, split=split)
    # A script in the directory is a RuntimeError: datasets no longer runs any.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{place} cannot be opened as {name}, split {split}: {reason}; {mend}") from error


def _within(directory: Path, config: str | None) -> tuple[str, str | None]:
    """The configuration in a directory: one its README knows, or a folder of that name, or all there is."""
    import datasets

    if config is None:
        return str(directory), None
    if (directory / "README.md").is_file() and config in datasets.get_dataset_config_names(str(directory)):
        return str(directory), config
    return str(directory / config if (directory / config).is_dir() else directory), None


@contextmanager
def _progress_bars(*, shown: bool) -> Iterator[None]:
    """Bars of ``datasets`` are for people; where nobody watches, they fill a log."""
    import datasets

    if shown or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def check_columns(table: "datasets.Dataset", columns: set[str], name: str) -> None:
    """Refuse a table without some of the columns.

    Raises:
        ValueError: naming them.
    """
    if missing := sorted(columns - set(table.column_names)):
        raise ValueError(f"{name} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")


def rows_of(table: "datasets.Dataset") -> Iterator[dict[str, Any]]:
    """The rows in their order."""
    for batch in table.iter(batch_size=_ROWS_AT_ONCE):
        names, columns = list(batch), batch.values()
        yield from (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def values_of(table: "datasets.Dataset", column: str) -> Iterator[Any]:
    """One column, from top to bottom."""
    return (row[column] for row in rows_of(table.select_columns([column])))


def filled(table: "datasets.Dataset", column: str) -> list[bool]:
    """Which rows have a value in a column, found without reading the values."""
    # Arrow keeps beside a column which of its values are there; as a slice of the file, it is read without the images.
    slices = table.select_columns([column]).with_format("arrow").iter(batch_size=_ROWS_AT_ONCE)
    return [there for part in slices for there in part.column(column).is_valid().to_pylist()]


class TableImages:
    """The images of a table, each decoded anew whenever it is asked for."""

    def __init__(self, table: "datasets.Dataset", column: str, name: str) -> None:
        import datasets

        self._stored = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        self._column, self._name = column, name

    def load(self, number: int) -> Image.Image:
        """The image of a row, in RGB.

        Raises:
            FileNotFoundError, ValueError: if there is none, or it cannot be read.
        """
        data, path = self._read(number)
        if data is None:
            return load_image(path)
        return decode_image(BytesIO(data), f"the image of row {number} of {self._name}")

    def digest(self, number: int) -> str:
        """16 hexadecimal digits that are the same for rows with the same image; nothing is decoded.

        An image that is stored as a file's name is known by that name.

        Raises:
            ValueError: if the row holds no image.
        """
        data, path = self._read(number)
        return hashlib.blake2b(path.encode() if data is None else data, digest_size=8).hexdigest()

    def _read(self, number: int) -> tuple[bytes | None, str]:
        stored = self._stored[number][self._column] or {}
        data, path = stored.get("bytes"), stored.get("path")
        if not data and not path:
            raise ValueError(f"row {number} of {self._name} holds no image")
        return data or None, path or ""
