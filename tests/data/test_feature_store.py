"""Stored pages come back as they went in, and fit no run of another making."""

from dataclasses import fields, replace

import pytest
import torch

from llava.data.batch import make_batch
from llava.data.feature_store import SeenPage, StoredPages, check_making, count_pages, store_pages, write_shard
from llava.data.page_data import PagesConfig
from llava.data.page_truth import PageTruth
from tests.losses_helpers import SHIRG_X, page_groups, patched_model

MAKING = {"grid": 12, "drawn": {"style": "shapes"}}


@pytest.fixture(scope="module")
def groups():
    return page_groups(patched_model()[0], 7)


def seen(groups, dim=5):
    generator = torch.Generator().manual_seed(3)
    patches = SHIRG_X.num_patches
    return [
        SeenPage(
            group=group,
            patches=torch.randn(patches, dim, generator=generator).to(torch.bfloat16),
            inked=torch.rand(patches, generator=generator) < 0.3,
        )
        for group in groups
    ]


def same(one, other):
    assert (one is None) == (other is None)
    return one is None or torch.equal(one, other)


@pytest.mark.parametrize("shard", [1, 3, 7, 64])
def test_pages_come_back_as_they_went_in(tmp_path, groups, shard):
    pages = seen(groups)
    assert sum(store_pages(tmp_path, pages, settings=MAKING, shard=shard)) == 7
    stored = StoredPages(tmp_path)
    assert len(stored) == count_pages(tmp_path) == 7
    assert stored.settings == MAKING
    for index, page in enumerate(pages):
        found = stored[index]
        assert len(found) == len(page.group)
        for before, now in zip(page.group, found, strict=True):
            assert torch.equal(now.patches, page.patches)
            assert torch.equal(now.inked, page.inked)
            assert now.views == ()
            for field in fields(PageTruth):
                wanted, read = getattr(before.truth, field.name), getattr(now.truth, field.name)
                assert wanted.dtype == read.dtype
                assert torch.equal(wanted, read)
            for name in ("id", "image_sizes", "question", "page_question"):
                assert getattr(now, name) == getattr(before, name)
            assert torch.equal(now.input_ids, before.input_ids)
            assert now.input_ids.dtype == before.input_ids.dtype
            assert torch.equal(now.labels, before.labels)
            assert same(now.pointers, before.pointers)


def test_some_pages_have_pointers_and_a_page_may_be_asked_fewer_questions(tmp_path, groups):
    list(store_pages(tmp_path, seen(groups), settings=MAKING))
    stored = StoredPages(tmp_path, questions=1)
    assert all(len(stored[index]) == 1 for index in range(7))
    assert any(sample.pointers is not None for group in groups for sample in group)


def test_writing_goes_on_where_it_stopped_and_half_a_shard_is_none(tmp_path, groups):
    pages = seen(groups)
    list(store_pages(tmp_path, pages[:4], settings=MAKING, shard=2))
    (tmp_path / ".00002.safetensors.77.tmp").write_bytes(b"half")
    (tmp_path / "00002.jsonl").write_text("{}\n")
    assert count_pages(tmp_path) == 4
    list(store_pages(tmp_path, pages[4:], settings=MAKING, shard=2))
    assert [group[0].id for group in StoredPages(tmp_path)] == [group[0].id for group in groups]


def test_pages_of_another_making_are_refused(tmp_path, groups):
    pages = seen(groups)
    list(store_pages(tmp_path, pages[:2], settings=MAKING))
    other = {**MAKING, "drawn": {"style": "print"}}
    with pytest.raises(ValueError, match=r"drawn\.style is 'shapes', not 'print'"):
        list(store_pages(tmp_path, pages[2:], settings=other))
    assert count_pages(tmp_path) == 2
    check_making(tmp_path, MAKING, dict(MAKING))


def test_what_cannot_be_stored_or_read_is_named(tmp_path, groups):
    with pytest.raises(FileNotFoundError, match="store_pages"):
        StoredPages(tmp_path)
    bare = seen([tuple(replace(sample, truth=None) for sample in groups[0])])
    with pytest.raises(ValueError, match="truth_grid"):
        write_shard(tmp_path, 0, bare)
    list(store_pages(tmp_path, seen(groups), settings=MAKING))
    with pytest.raises(IndexError, match="page 7 of 7"):
        StoredPages(tmp_path)[7]


def test_batches_hold_views_or_stored_patches(tmp_path, groups):
    list(store_pages(tmp_path, seen(groups), settings=MAKING))
    stored = StoredPages(tmp_path)
    batch = make_batch([stored[0], stored[3]])
    assert batch.views == ()
    assert [tuple(each.shape) for each in batch.patches] == [(144, 5)] * 2
    assert [tuple(each.shape) for each in batch.inked] == [(144,)] * 2
    drawn = make_batch([groups[0], groups[3]])
    for name in ("image_index", "sample_index", "image_sizes", "questions", "ids"):
        assert getattr(batch, name) == getattr(drawn, name)
    again = batch.__class__.__new__(batch.__class__)
    again.__setstate__(batch.__getstate__())
    assert all(torch.equal(one, other) for one, other in zip(again.patches, batch.patches, strict=True))
    with pytest.raises(ValueError, match="either views or what a tower has seen"):
        make_batch([stored[0], groups[1]])


def test_drawn_pages_of_a_stored_configuration_name_their_folder():
    assert PagesConfig(stored="runs/pages").stored == "runs/pages"
    assert PagesConfig().stored is None
    with pytest.raises(ValueError, match="stored"):
        PagesConfig(stored="")
