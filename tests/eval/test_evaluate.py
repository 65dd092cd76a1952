"""Evaluation: which questions are asked, how pages become tokens, and runs that go on as if nothing had happened."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava.eval.asked import Asked
from llava.eval.benchmarks.benchmark import BenchmarkSample
from llava.eval.benchmarks.registry import BENCHMARKS
from llava.eval.encoder import PageEncoder
from llava.eval.evaluate import Run, evaluate, resolved_settings
from llava.eval.methods import METHODS, Budget, Method
from llava.eval.results import RECORDS_FILE, SETTINGS_FILE, ResultSet
from llava.inference.decoding import DECODING
from llava.inference.session import Session
from llava.mm_utils import process_images
from shirg.baselines import BASELINES
from shirg.config import ShirgXConfig
from shirg.ink import blank_share
from tests.cli_helpers import QUICK_SHIRG_X

SETTINGS = ShirgXConfig(**QUICK_SHIRG_X, budget=48)
SHORT = replace(DECODING, max_new_tokens=6)
ASKED = Asked(benchmark=BENCHMARKS["entitygrid"], split="test", style="shapes", questions=11)
OWN_NUMBER = ("stock", "all_patches", "scaffold_only")

Evaluated = dict[Budget, ResultSet]
Evaluate = Callable[..., Evaluated]


def samples_of(name: str, questions: int, split: str = "test", style: str = "shapes") -> list[BenchmarkSample]:
    return list(BENCHMARKS[name].samples(split=split, style=style, questions=questions))


def method_of(name: str, *budgets: Budget) -> Method:
    return Method(name=name, settings=SETTINGS, budgets=budgets)


@pytest.fixture(scope="module")
def encoder_of(quick: Path) -> Callable[..., PageEncoder]:
    """An encoder by the method's name; models are loaded once."""
    sessions: dict[ShirgXConfig, Session] = {}

    def make(name: str, *budgets: Budget, seed: int = 0) -> PageEncoder:
        method = method_of(name, *budgets)
        settings = method.patch_settings
        if settings not in sessions:
            sessions[settings] = Session.load(quick, shirg=settings, device="cpu")
            if settings.mode != "stock":
                # Fresh coordinates add nothing, so that a peer without them would go unnoticed.
                torch.nn.init.normal_(sessions[settings].model.shirg_x.coordinates.coord_out.weight)
        return PageEncoder(session=sessions[settings], method=method, seed=seed)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Evaluate:
    """Evaluate into a directory below ``tmp_path``."""

    def answer(encoder: PageEncoder, where: str, *, asked: Asked = ASKED, batch_size: int = 4) -> Evaluated:
        results = {}
        for budget in encoder.method.budgets:
            settings = resolved_settings(asked, encoder, SHORT, budget, {"model": "quick"})
            results[budget] = ResultSet(tmp_path / where / str(budget), settings, {"commit": where})
        runs = [Run(budget=budget, decoding=SHORT, results=stored) for budget, stored in results.items()]
        evaluate(asked, encoder, runs, batch_size=batch_size)
        return results

    return answer


def without_times(path: Path) -> list[dict[str, Any]]:
    return [{**json.loads(line), "seconds": None} for line in path.read_text().splitlines()]


class TestMethods:
    @pytest.mark.parametrize("name", METHODS)
    def test_every_method_has_its_number_of_tokens(self, encoder_of: Callable[..., PageEncoder], name: str) -> None:
        budgets = () if name in OWN_NUMBER else (32, 48)
        encoder = encoder_of(name, *budgets)
        (sample,) = samples_of("entitygrid", 1)
        question = encoder.session.prompt(sample.question)[1]
        page = encoder.encode(sample.page, sample.image)
        counts = [
            (prefix.num_detail, len(prefix.tokens))
            for prefix in (encoder.choose(page, question, budget) for budget in encoder.method.budgets)
        ]
        # 9 scaffold tokens; peers without a scaffold spend them on detail, and the pooled grid fits as well as it can.
        without = [(41, 41), (57, 57)]
        expected = {
            "shirg_x": [(32, 41), (48, 57)],
            "scaffold_random": [(32, 41), (48, 57)],
            "scaffold_only": [(0, 9)],
            "all_patches": [(144, 144)],
            "mean_pooled": [(40, 40), (56, 56)],
            "scaled_down": [(36, 36), (49, 49)],
            "stock": [(None, 406)],
        }
        assert counts == expected.get(name, without)

    @pytest.mark.parametrize("name", ["uniform_stride", "ink", "mmr", "scope", "scaffold_random"])
    def test_a_peer_is_its_choice_with_coordinates_projected(
        self, encoder_of: Callable[..., PageEncoder], name: str
    ) -> None:
        encoder = encoder_of(name, 32, seed=5)
        session, handle = encoder.session, encoder.session.handle
        assert handle is not None
        (sample,) = samples_of("chartpage", 1)
        question = session.prompt(sample.question)[1]
        found = encoder.choose(encoder.encode(sample.page, sample.image), question, 32)
        view = process_images([sample.image], session.image_processor, session.model.config)[0]
        with torch.no_grad():
            pages = handle.encode_pages([view], [sample.image.size])
            dual = pages.dual
            chosen = BASELINES[name](
                dual,
                total=41,
                pixels=view,
                similarity=handle.similarity(pages, [question]),
                generator=torch.Generator(),
            )
            if name == "scaffold_random":  # its choice is free; that each token is a patch of the page is not
                chosen = BASELINES["all_patches"](dual, total=41)
            embed, project = session.model.shirg_x.coordinates, session.model.get_model().mm_projector
            detail = project(chosen.features + embed(chosen.boxes))[0]
            scaffold = project(dual.scaffold + embed(dual.scaffold_boxes))[0]
        if name == "scaffold_random":
            torch.testing.assert_close(found.tokens[:9], scaffold)
            places = torch.cdist(found.tokens[9:], detail).argmin(1)
            torch.testing.assert_close(found.tokens[9:], detail[places])
            assert places.tolist() == sorted(set(places.tolist()))
        else:
            torch.testing.assert_close(found.tokens, detail)

    def test_a_page_scaled_down_is_every_patch_of_a_smaller_view(self, encoder_of: Callable[..., PageEncoder]) -> None:
        encoder = encoder_of("scaled_down", 32)
        session, handle = encoder.session, encoder.session.handle
        assert handle is not None
        (sample,) = samples_of("chartpage", 1)
        question = session.prompt(sample.question)[1]
        page = encoder.encode(sample.page, sample.image)
        found = encoder.choose(page, question, 32)
        assert encoder.choose(page, question, 32) is found
        assert found.detail is not None
        places = [[(column + 0.5) / 6, (row + 0.5) / 6, 1 / 6, 1 / 6] for row in range(6) for column in range(6)]
        torch.testing.assert_close(found.detail.boxes[0], torch.tensor(places))
        view = session.image_processor.preprocess(sample.image.convert("RGB"), size=(6 * 14, 6 * 14))["pixel_values"]
        with torch.no_grad():
            features = session.model.get_vision_tower()(view)
            tokens = session.model.get_model().mm_projector(
                features + session.model.shirg_x.coordinates(torch.tensor(places)[None])
            )
        torch.testing.assert_close(found.tokens, tokens[0])

    def test_chance_depends_on_the_seed_and_the_page_only(self, encoder_of: Callable[..., PageEncoder]) -> None:
        (sample,) = samples_of("entitygrid", 1)

        def choose(seed: int, name: str) -> torch.Tensor:
            encoder = encoder_of("scaffold_random", 32, seed=seed)
            question = encoder.session.prompt(sample.question)[1]
            return encoder.choose(encoder.encode(name, sample.image), question, 32).tokens

        first = choose(1, "page")
        assert torch.equal(choose(1, "page"), first)
        assert not torch.equal(choose(2, "page"), first)
        assert not torch.equal(choose(1, "other page"), first)

    def test_only_a_peer_that_reads_the_question_chooses_anew_for_it(
        self, encoder_of: Callable[..., PageEncoder]
    ) -> None:
        first, second = samples_of("entitygrid", 2)
        for name, same in (("mmr", False), ("shirg_x", False), ("tome", True)):
            encoder = encoder_of(name, 32)
            page = encoder.encode(first.page, first.image)
            one, other = (
                encoder.choose(page, encoder.session.prompt(sample.question)[1], 32).tokens
                for sample in (first, second)
            )
            assert torch.equal(one, other) == same

    def test_auto_gives_a_peer_the_total_that_shirg_x_takes(self, encoder_of: Callable[..., PageEncoder]) -> None:
        (sample,) = samples_of("entitygrid", 1)
        totals = []
        for name in ("shirg_x", "divprune"):
            encoder = encoder_of(name, "auto")
            question = encoder.session.prompt(sample.question)[1]
            page = encoder.encode(sample.page, sample.image)
            totals.append(len(encoder.choose(page, question, "auto").tokens))
        # A fresh budget head keeps the largest budget.
        assert totals == [73, 73]


class TestEvaluate:
    def test_answers_are_those_of_the_session(self, encoder_of: Callable[..., PageEncoder], run: Evaluate) -> None:
        encoder = encoder_of("shirg_x", 48)
        records = run(encoder, "out")[48].records
        samples = list(ASKED.samples())
        answers = [encoder.session.ask(s.image, [s.question], decoding=SHORT)[0] for s in samples]
        assert [record.answer for record in records] == [answer.text for answer in answers]
        assert len({record.answer for record in records}) > 3
        for record, sample in zip(records, samples, strict=True):
            assert record.is_about(sample)
            assert record.scores == ASKED.benchmark.score(record.answer, sample.golds)
            assert (record.detail_tokens, record.total_tokens) == (48, 57)
            page = encoder.encode(sample.page, sample.image)
            tokens = encoder.choose(page, encoder.session.prompt(sample.question)[1], 48).detail
            share = blank_share(page.page.encoded.dual, tokens)
            assert record.blank_share == pytest.approx(float(share[0]), abs=1e-6)

    @pytest.mark.parametrize("name", ["shirg_x", "mmr", "scaffold_random"])
    def test_every_question_gets_as_many_tokens_as_it_needs(
        self, encoder_of: Callable[..., PageEncoder], name: str
    ) -> None:
        """Peers get as many as SHIRG-X does; fixed numbers and the head's stand beside it."""
        encoder = encoder_of(name, "question", 32, "auto")
        handle = encoder.session.handle
        for sample in list(ASKED.samples())[:4]:
            page = encoder.encode(sample.page, sample.image)
            question = encoder.session.prompt(sample.question)[1]
            pages = page.page.encoded
            (budget,) = handle.question_budgets(pages, handle.similarity(pages, [question]))
            totals = {kept: len(encoder.choose(page, question, kept).tokens) for kept in ("question", 32, "auto")}
            scaffold = encoder.method.scaffold_tokens
            assert totals == {"question": budget + scaffold, 32: 32 + scaffold, "auto": pages.budgets[0] + scaffold}

    def test_a_peer_without_a_relevance_is_not_asked_for_a_question_s_budget(self) -> None:
        with pytest.raises(ValueError, match="the method attention has no relevance to a question"):
            Method(name="attention", settings=SETTINGS, budgets=("question",))

    @pytest.mark.parametrize("name", ["shirg_x", "stock", "mmr", "scaffold_random"])
    def test_the_batch_size_changes_no_answer(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, tmp_path: Path, name: str
    ) -> None:
        encoder = encoder_of(name)
        (budget,) = encoder.method.budgets
        expected = None
        for batch_size in (1, 3, 16):
            run(encoder, str(batch_size), batch_size=batch_size)
            found = without_times(tmp_path / str(batch_size) / str(budget) / RECORDS_FILE)
            expected = expected or found
            assert found == expected
            assert len(found) == 11

    def test_pages_are_encoded_once_for_all_questions_and_budgets(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, tower_calls: list[str]
    ) -> None:
        results = run(encoder_of("shirg_x", 32, 48, 64), "out")
        pages = {record.page for record in results[32].records}
        assert len(pages) < 11
        assert tower_calls.count("extract_shirg_x_tokens") == len(pages)
        assert [results[budget].records[0].detail_tokens for budget in results] == [32, 48, 64]

    def test_several_budgets_find_what_each_finds_alone(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, tmp_path: Path
    ) -> None:
        run(encoder_of("tome", 32, 64), "together")
        for budget in (32, 64):
            run(encoder_of("tome", budget), "alone")
            for file in (RECORDS_FILE, SETTINGS_FILE):
                together, alone = (tmp_path / where / str(budget) / file for where in ("together", "alone"))
                if file == SETTINGS_FILE:
                    assert together.read_bytes() == alone.read_bytes()
                else:
                    assert without_times(together) == without_times(alone)

    def test_a_killed_run_goes_on_as_if_nothing_had_happened(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoder = encoder_of("scaffold_random", 32)
        run(encoder, "out")
        path = tmp_path / "out" / "32" / RECORDS_FILE
        whole, expected = path.read_bytes(), without_times(path)
        lines = whole.splitlines(keepends=True)
        calls: list[int] = []
        original = type(encoder.session.model).denoise

        def counted(self: Any, prepared: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(len(prepared.lengths))
            return original(self, prepared, *args, **kwargs)

        monkeypatch.setattr(type(encoder.session.model), "denoise", counted)
        # Nothing written; a torn line; the end of a batch; a line without its end; the last line torn; all there.
        for cut, batches in (
            (0, [4, 4, 3]),
            (len(lines[0]) // 2, [4, 4, 3]),
            (sum(map(len, lines[:4])), [4, 3]),
            (sum(map(len, lines[:6])) - 1, [4, 3]),
            (len(whole) - 9, [3]),
            (len(whole), []),
        ):
            path.write_bytes(whole[:cut])
            calls.clear()
            run(encoder, "out")
            assert without_times(path) == expected
            assert calls == batches
            # What was there is kept as it was, times and all.
            kept = whole[: whole[:cut].rfind(b"\n") + 1]
            assert path.read_bytes().startswith(kept)

    def test_a_killed_run_may_go_on_with_another_batch_size(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, tmp_path: Path
    ) -> None:
        encoder = encoder_of("shirg_x", 48)
        run(encoder, "out")
        path = tmp_path / "out" / "48" / RECORDS_FILE
        expected = without_times(path)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))
        run(encoder, "out", batch_size=7)
        assert without_times(path) == expected

    def test_only_the_budget_that_is_behind_goes_on(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, tmp_path: Path
    ) -> None:
        encoder = encoder_of("shirg_x", 32, 64)
        run(encoder, "out")
        paths = [tmp_path / "out" / str(budget) / RECORDS_FILE for budget in (32, 64)]
        before = [path.read_bytes() for path in paths]
        expected = without_times(paths[1])
        paths[1].write_bytes(before[1][:-30])
        run(encoder, "out")
        assert paths[0].read_bytes() == before[0]
        assert without_times(paths[1]) == expected

    def test_records_about_other_questions_are_refused(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, tmp_path: Path
    ) -> None:
        encoder = encoder_of("shirg_x", 48)
        run(encoder, "out")
        path = tmp_path / "out" / "48" / RECORDS_FILE
        lines = path.read_text().splitlines()
        changed = {**json.loads(lines[5]), "golds": ["another"]}
        path.write_text("\n".join([*lines[:5], json.dumps(changed)]) + "\n")
        with pytest.raises(ValueError, match=r"line 6 answers .*-0-1-\d.*the benchmark has changed since"):
            run(encoder, "out")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"seed": 3}, "seed is 0 there and 3 here"),
            ({"asked": replace(ASKED, questions=5)}, "questions is 11 there and 5 here"),
            ({"name": "divprune"}, "method is 'shirg_x' there and 'divprune' here"),
        ],
    )
    def test_results_of_another_setting_are_refused(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate, change: dict[str, Any], message: str
    ) -> None:
        run(encoder_of("shirg_x", 48), "out")
        encoder = encoder_of(change.get("name", "shirg_x"), 48, seed=change.get("seed", 0))
        with pytest.raises(ValueError, match=f"holds results of another setting: {message}; choose another"):
            run(encoder, "out", asked=change.get("asked", ASKED))

    def test_an_empty_benchmark_and_a_batch_of_none_are_errors(
        self, encoder_of: Callable[..., PageEncoder], run: Evaluate
    ) -> None:
        empty = replace(ASKED, benchmark=replace(ASKED.benchmark, read=lambda split, style, data: ()))
        with pytest.raises(ValueError, match="entitygrid has no questions in its split 'test'"):
            run(encoder_of("shirg_x", 48), "empty", asked=empty)
        with pytest.raises(ValueError, match="batch size must be at least 1, got 0"):
            run(encoder_of("shirg_x", 48), "none", batch_size=0)
