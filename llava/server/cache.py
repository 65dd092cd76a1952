"""Pages that were encoded already, by what they hold."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from llava.inference.answer import EncodedImage


class PageCache:
    """The pages asked about last, up to ``most`` bytes of tensors and pixels. For one thread.

    ``on_look`` is told of every look whether the page was there.
    """

    def __init__(self, most: int, on_look: Callable[[bool], object] = lambda found: None) -> None:
        self._most = most
        self._on_look = on_look
        self._pages: OrderedDict[Hashable, tuple[EncodedImage, int]] = OrderedDict()
        self.num_bytes = 0
        """Of all pages that are kept."""

    def __contains__(self, key: Hashable) -> bool:
        return key in self._pages

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, key: Hashable, encode: Callable[[], EncodedImage]) -> EncodedImage:
        """The page of a key, encoded if it is not kept; one that is larger than the cache is not kept."""
        found = self._pages.get(key)
        self._on_look(found is not None)
        if found is not None:
            self._pages.move_to_end(key)
            return found[0]
        page = encode()
        size = num_bytes(page)
        if size <= self._most:
            self._pages[key] = page, size
            self.num_bytes += size
            while self.num_bytes > self._most:
                _, (_, freed) = self._pages.popitem(last=False)
                self.num_bytes -= freed
        return page


def num_bytes(value: Any) -> int:
    """Bytes of the tensors and pictures inside a value."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Image.Image):
        return value.width * value.height * len(value.getbands())
    if is_dataclass(value):
        return sum(num_bytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple | list):
        return sum(num_bytes(each) for each in value)
    return 0
