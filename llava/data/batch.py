"""Samples side by side: what one process is given in one step. Nothing here is on the device yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llava.constants import IGNORE_INDEX
from llava.data.page_truth import PageTruth
from llava.data.sample import Sample
from llava.model.splice import image_places
from llava.pages import PageQuestion
from llava.question import Question
from llava.seeds import stable_seed

Group = tuple[Sample, ...]
"""Samples about the same images, which are then encoded once."""


_TENSORS = ("prompts", "labels", "views", "patches", "inked")
"""The entries of a batch that hold a tensor for each sample or image."""
Packed = tuple[Tensor, list[int]] | list[Tensor]


def _pack(tensors: Sequence[Tensor]) -> Packed:
    """One tensor and the lengths in it; tensors that differ in more than their first axis stay as they are."""
    if len({tensor.shape[1:] for tensor in tensors}) != 1:
        return list(tensors)
    return torch.cat(list(tensors)), [len(tensor) for tensor in tensors]


def _unpack(packed: Packed) -> Sequence[Tensor]:
    return packed if isinstance(packed, list) else packed[0].split(packed[1])


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples, and the different images they ask about. A plain object: engines move tensors, and prompts stay here."""

    ids: tuple[str, ...]
    prompts: tuple[Tensor, ...]
    """Per sample (positions,) int64 ids with the answer."""
    labels: tuple[Tensor, ...]
    questions: tuple[Question | None, ...]
    """One per image of every sample, in the order of the placeholders."""
    image_index: tuple[int, ...]
    """Which image each placeholder shows."""
    sample_index: tuple[int, ...]
    """Which sample each placeholder belongs to."""
    views: tuple[Tensor, ...]
    patches: tuple[Tensor, ...]
    """Per image (patches, dim), where a tower has seen them already: then there are no views."""
    inked: tuple[Tensor, ...]
    """Per entry of ``patches`` (patches,) bool, as ``Sample.inked``."""
    image_sizes: tuple[tuple[int, int], ...]
    truths: tuple[PageTruth | None, ...]
    """Per image: what a drawn page knows about its patches."""
    page_questions: tuple[PageQuestion | None, ...]
    """Per sample."""
    pointers: tuple[Tensor | None, ...]
    """Per sample, as ``Sample.pointers``."""
    skipped: tuple[str, ...]
    """Why records that should be here are not."""

    def pin_memory(self) -> "Batch":
        """The batch with views in page-locked memory, from where a GPU takes them without waiting; asked for by the
        data loader."""
        return replace(self, views=tuple(view.pin_memory() for view in self.views))

    def __getstate__(self) -> dict[str, Any]:
        """Few large tensors in place of many small ones: a data loader's worker passes each tensor on by a file."""
        state = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name in _TENSORS:
            state[name] = _pack(state[name])
        drawn = [truth for truth in self.truths if truth is not None]
        packed = {entry.name: _pack([getattr(truth, entry.name) for truth in drawn]) for entry in fields(PageTruth)}
        state["truths"] = ([truth is not None for truth in self.truths], packed if drawn else {})
        pointers = [each for each in self.pointers if each is not None]
        state["pointers"] = ([each is not None for each in self.pointers], _pack(pointers) if pointers else [])
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        is_drawn, packed = state["truths"]
        parts = {name: _unpack(each) for name, each in packed.items()}
        drawn = iter(range(sum(is_drawn)))
        truths = [_truth(parts, next(drawn)) if each else None for each in is_drawn]
        is_known, packed_pointers = state["pointers"]
        known = iter(_unpack(packed_pointers))
        pointers = [next(known) if each else None for each in is_known]
        opened: dict[str, Any] = {name: tuple(_unpack(state[name])) for name in _TENSORS}
        opened |= {"truths": tuple(truths), "pointers": tuple(pointers)}
        for name, value in {**state, **opened}.items():
            object.__setattr__(self, name, value)

    @property
    def num_labeled(self) -> int:
        """Answer tokens; each is masked once in the two copies of its sample."""
        return sum(int((row != IGNORE_INDEX).sum()) for row in self.labels)


def _truth(parts: Mapping[str, Sequence[Tensor]], number: int) -> PageTruth:
    return PageTruth(**{name: each[number] for name, each in parts.items()})


def make_batch(groups: Sequence[Group]) -> Batch:
    """The samples of all groups as one batch.

    Raises:
        ValueError: if the samples of a group differ in their images, of which only the first sample's are encoded, or
            only some images come as what a tower has seen.
    """
    samples = [sample for group in groups for sample in group]
    views: list[Tensor] = []
    patches: list[Tensor] = []
    inked: list[Tensor] = []
    sizes: list[tuple[int, int]] = []
    truths: list[PageTruth | None] = []
    image_index: list[int] = []
    sample_index: list[int] = []
    questions: list[Question | None] = []
    number = 0
    for group in groups:
        start = len(sizes)
        views += group[0].views
        patches += [] if group[0].patches is None else [group[0].patches]
        inked += [] if group[0].inked is None else [group[0].inked]
        sizes += group[0].image_sizes
        count = group[0].num_images
        truths += [group[0].truth] * count
        for sample in group:
            if sample.image_sizes != group[0].image_sizes or sample.num_images != count:
                raise ValueError(
                    f"sample {sample.id} has other images than {group[0].id}; group samples by their images"
                )
            image_index += range(start, start + count)
            sample_index += [number] * count
            questions += [sample.question] * count
            number += 1
    if views and patches:
        raise ValueError(
            "a batch holds either views or what a tower has seen of them; some samples here have the other"
        )
    return Batch(
        ids=tuple(sample.id for sample in samples),
        prompts=tuple(sample.input_ids for sample in samples),
        labels=tuple(sample.labels for sample in samples),
        questions=tuple(questions),
        image_index=tuple(image_index),
        sample_index=tuple(sample_index),
        views=tuple(views),
        patches=tuple(patches),
        inked=tuple(inked),
        image_sizes=tuple(sizes),
        truths=tuple(truths),
        page_questions=tuple(sample.page_question for sample in samples),
        pointers=tuple(sample.pointers for sample in samples),
        skipped=tuple(reason for sample in samples for reason in sample.skipped),
    )


def collate(items: Sequence[Sample | Group]) -> dict[str, Any]:
    """What the trainer hands from the data loader to the model: the batch, and labels for it to count.

    An item of a dataset is a sample, or a group of samples about the same images.
    """
    batch = make_batch([item if isinstance(item, tuple) else (item,) for item in items])
    return {"batch": batch, "labels": pad_sequence(list(batch.labels), batch_first=True, padding_value=IGNORE_INDEX)}


def draw_noise(batch: Batch, *key: object) -> tuple[Tensor, Tensor]:
    """Diffusion times (samples,) and uniform noise (labeled tokens,) of a batch, on the host.

    Drawn sample by sample from (key, id), so that neither batch mates, nor the number of processes, nor a restart
    change what a sample is given.
    """
    times, noise = [], []
    for name, labels in zip(batch.ids, batch.labels, strict=True):
        generator = torch.Generator().manual_seed(stable_seed(*key, name))
        times.append(torch.rand(1, generator=generator))
        noise.append(torch.rand(int((labels != IGNORE_INDEX).sum()), generator=generator))
    return torch.cat(times), torch.cat(noise)


def detail_starts(batch: Batch, sequence_lengths: Sequence[int], detail: Sequence[int] | int) -> list[int]:
    """Per image, where its detail tokens start in its spliced prompt: behind all that comes before, and its scaffold.

    Args:
        sequence_lengths: tokens of every image, scaffold and detail.
        detail: detail tokens of every image, which end its sequence.
    """
    counts = [detail] * len(sequence_lengths) if isinstance(detail, int) else detail
    holes = [image_places(ids) for ids in batch.prompts]
    grown = [0] * len(holes)
    starts = []
    for sample, length, count in zip(batch.sample_index, sequence_lengths, counts, strict=True):
        starts.append(holes[sample].pop(0) + grown[sample] + length - count)
        grown[sample] += length - 1
    return starts


def draw_image_noise(batch: Batch, seed: int, shapes: Sequence[Sequence[int]]) -> Tensor:
    """(images, *shape) standard normal, drawn image by image, so that no sample's noise depends on its batch mates."""
    drawn = []
    for row, (sample, shape) in enumerate(zip(batch.sample_index, shapes, strict=True)):
        place = batch.sample_index[:row].count(sample)
        generator = torch.Generator().manual_seed(stable_seed("image", seed, batch.ids[sample], place))
        drawn.append(torch.randn(*shape, generator=generator))
    return pad_sequence(drawn, batch_first=True)
