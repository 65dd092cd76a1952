"""A digest of the data of a run, by which a resumed one knows that they are still the same."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.utils.data import Dataset

from llava.data.conversations import ConversationDataset
from llava.data.crops import CropDataset, find_pdfs
from llava.data.sample import Sample


def data_digest(dataset: Dataset) -> str:
    """16 hexadecimal digits: of every record of a file or a table; of drawn data their number and the first item; of
    crops the files that they are cut from.

    Images of records are known by their names, and numbers that differ between machines in their last bits not at all.
    """
    digest = hashlib.blake2b(str(len(dataset)).encode(), digest_size=8)  # type: ignore[arg-type]
    if isinstance(dataset, ConversationDataset):
        digest.update(dataset.records.digest().encode())
    elif isinstance(dataset, CropDataset):
        # None is drawn here: PDFium's files must not be open when workers start.
        for file in find_pdfs(dataset.config.pdfs):
            digest.update(f"{file.name} {file.stat().st_size} ".encode())
    else:
        for tensor in _whole_numbers(dataset[0]):
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _whole_numbers(item: Any) -> Iterable[torch.Tensor]:
    if isinstance(item, torch.Tensor):
        return () if item.is_floating_point() else (item,)
    if isinstance(item, Sample):
        return (item.input_ids, item.labels)
    parts = item.values() if isinstance(item, Mapping) else item
    return (tensor for part in parts for tensor in _whole_numbers(part))
