"""Everything that one training step computes, as one module: engines wrap it, and its parameters are what they see.

views -> tower -> selection -> projector -> prompts -> two noisy copies -> language model -> losses
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lavida_shirg_integration import EncodedPages, ShirgXHandle
from llava.constants import IGNORE_INDEX
from llava.data.batch import Batch, detail_starts, draw_image_noise
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.multimodal_encoder.siglip_encoder import record_input
from llava.model.splice import PromptEmbeds
from llava.question import Question
from llava.train.losses.budget import budget_labels, evidence_kept, evidence_labels
from llava.train.losses.budget_memory import BudgetMemory
from llava.train.losses.config import LossConfig
from llava.train.losses.looking import BlockInput, log_attention, query_places, record_block_inputs
from llava.train.losses.loss import AnswersLoss, AnswersSeen, Loss, LossSetup, PagesLoss, PagesSeen, Part
from llava.train.losses.objective import DiffusionLoss, TwoCopies, diffusion_loss, mask_probability, two_copies
from llava.train.losses.registry import LOSSES
from llava.train.losses.relevance import noise_gate, outcomes_wanted, relevance_loss, relevant_patches
from llava.train.rows import chance_similarity, every_token, true_outcomes
from llava.train.stored import encode_stored
from shirg.joining import together
from shirg.sources.inputs import NEVER
from shirg.transfer import to_device

AnyLoss = TypeVar("AnyLoss", bound=Loss)
Parts = Mapping[str, Part]
"""By the losses' names."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The chance in a step, drawn outside so that processes and restarts agree on it. On the host."""

    times: Tensor
    """(samples,) diffusion times from [0, 1]."""
    noise: Tensor
    """(labeled tokens,) uniform."""
    budget: int | None = None
    """Detail tokens of every image in this step; None without SHIRG-X."""
    gate: bool = False
    """Whether this step gates all tokens with noise instead of selecting some."""
    gate_seed: int = 0
    selection_seed: int | None = None
    """Of a step that chooses tokens at random; None for one that chooses by the similarity."""
    tells_truth: bool = False
    """Whether the language model is told what is relevant in truth, instead of what the relevance finds."""
    measurements: tuple[tuple[Tensor, Tensor], ...] = ()
    """(times, noise) of each draw over which budgets are measured; empty in a step that measures none."""


class TrainingModel(nn.Module):
    """LaViDa with the losses of a stage; ``losses`` holds parameters that only losses need.

    Args:
        handle: the live patch; None, or one in stock mode, for LaViDa's own encoding.
        drawn: whether the data are drawn pages, which know what their patches show.

    Raises:
        ValueError: if a loss needs drawn pages or SHIRG-X and goes without, or layers or heads that do not exist.
    """

    def __init__(
        self,
        lavida: LavidaForMaskedDiffusion,
        handle: ShirgXHandle | None,
        config: LossConfig,
        *,
        drawn: bool = False,
    ) -> None:
        super().__init__()
        self.lavida = lavida
        self.handle = handle if handle is not None and handle.config.mode == "shirg_x" else None
        self.loss_config = config  # transformers writes into an attribute named config
        self.memory = BudgetMemory(config.budget_memory)
        self._check(drawn=drawn)
        setup = LossSetup(
            options=config,
            vision_dim=lavida.get_vision_tower().hidden_size,
            width=lavida.config.hidden_size,
        )
        self.losses = nn.ModuleDict()
        for name in config.active if self.handle is not None else ():
            make = LOSSES[name].make
            if make is not None and (config.denoising or LOSSES[name].needs_pages):
                self.losses[name] = make(setup)
        for loss in self._of(Loss).values():
            loss.check(lavida)

    def _of(self, kind: type[AnyLoss]) -> dict[str, AnyLoss]:
        return {name: loss for name, loss in self.losses.items() if isinstance(loss, kind)}

    @property
    def learns_relevance(self) -> bool:
        """Whether the relevance has a teacher here."""
        learned = self.handle is not None and self.handle.config.source.weights is not None
        return learned and self.loss_config.weight("relevance") > 0

    @property
    def learns_budget_by_evidence(self) -> bool:
        """Whether every step teaches the budget head what the evidence needs."""
        config = self.loss_config
        return self.handle is not None and config.weight("budget") > 0 and config.budget_teacher == "evidence"

    def _check(self, *, drawn: bool) -> None:
        config = self.loss_config
        wanted = [*config.page_losses]
        if self.learns_relevance and config.relevance_teacher == "boxes":
            wanted.append("relevance_teacher: boxes")
        if config.weight("budget") and config.budget_teacher == "evidence":
            wanted.append("budget_teacher: evidence")
        if wanted and (self.handle is None or not drawn):
            raise ValueError(f"losses: {wanted[0]} needs drawn pages and SHIRG-X; leave it out, or train with both")
        if self.learns_relevance and not config.denoising and config.relevance_teacher != "boxes":
            teacher = f"relevance_teacher {config.relevance_teacher}"
            raise ValueError(f"losses: {teacher} asks the language model, which denoising: 0 leaves out; use boxes")
        layers = len(self.lavida.model.blocks)
        distills = self.learns_relevance and config.relevance_teacher == "attention"
        if distills and not all(0 <= layer < layers for layer in config.pointing_layers):
            raise ValueError(
                f"losses: pointing_layers must lie from 0 to {layers - 1} in this model, got {config.pointing_layers}"
            )

    def forward(self, batch: Batch, draws: Draws) -> Parts:
        """The parts of the loss of a batch; what needs images is missing where there are none.

        Raises:
            ValueError: if prompts, images and answers exceed the context. A relevance taught by attention or by the
                gate reads every patch of an image, so there the images must fit whole.
        """
        if self.handle is None or not batch.image_sizes:
            return self._text_alone(batch, draws) if self.loss_config.denoising else {}
        seen = self._see(batch, draws.budget)
        pages = seen.pages
        parts = {name: loss(seen) for name, loss in self._of(PagesLoss).items()}
        rows = seen.rows(draws.budget)
        if not self.loss_config.denoising:
            if self.learns_relevance:
                parts["relevance"] = self._teach_relevance(batch, draws, pages, rows)
            return parts
        if draws.gate:
            parts["denoising"], _, _ = self._denoise(draws, self._splice(batch, self._gated(rows, batch, draws)))
        else:
            parts |= self._answer(seen, rows, draws)
        if self.learns_relevance and not draws.gate and self.loss_config.relevance_teacher != "gate":
            parts["relevance"] = self._teach_relevance(batch, draws, pages, rows)
        if draws.measurements or self.learns_budget_by_evidence:
            self.memory.add(*self._measure_budgets(seen, draws))
        if len(self.memory):
            parts["budget"] = self.memory.learn(self.lavida.shirg_x.budget_head)
        return self._hang(parts, self._idle(pages, batch.views[0] if batch.views else None, projected=draws.gate))

    def _see(self, batch: Batch, budget: int | None) -> PagesSeen:
        """The pages of a batch, encoded now or once before."""
        assert self.handle is not None
        tower = self.lavida.get_vision_tower()
        if batch.patches:
            device = self.lavida.device
            patches, inked = (to_device(torch.stack(each), device) for each in (batch.patches, batch.inked))
            assert budget is not None
            pages = encode_stored(self.handle, patches.to(self.lavida.dtype), inked, budget=budget)
            return PagesSeen(batch=batch, pages=pages, lavida=self.lavida)
        before, last = tower.last_layers
        with record_input(before) as first, record_input(last) as second:
            pages = self.handle.encode_pages(batch.views, batch.image_sizes, budget=budget)
        return PagesSeen(batch=batch, pages=pages, layer_inputs=(first[0], second[0]), lavida=self.lavida)

    def _text_alone(self, batch: Batch, draws: Draws) -> Parts:
        """What is learned without SHIRG-X's encoding: LaViDa's objective."""
        part, _, _ = self._denoise(draws, self._splice(batch, self._lavida_sequences(batch)))
        parts = {"denoising": part}
        return parts if batch.image_sizes else self._hang(parts, self._blank_page())

    def _answer(self, seen: PagesSeen, rows: EncodedPages, draws: Draws) -> Parts:
        """The denoising loss on selected tokens, and the losses on how it came about."""
        assert self.handle is not None
        batch, losses = seen.batch, self._of(AnswersLoss)
        chance = chance_similarity(rows, batch, draws.selection_seed)
        truth = true_outcomes(rows, batch) if draws.tells_truth else None
        prefix = self.handle.select_tokens(rows, batch.questions, similarity=chance, outcomes=truth)
        watched = sorted({layer for loss in losses.values() for layer in loss.watched()})
        part, copies, inputs = self._denoise(draws, self._splice(batch, prefix.sequences), watched)
        answers = AnswersSeen(pages=seen, prefix=prefix, copies=copies, inputs=inputs)
        return {"denoising": part, **{name: loss(answers) for name, loss in losses.items()}}

    def _hang(self, parts: Parts, idle: Tensor) -> Parts:
        """The same parts, whose denoising loss reaches, at zero, what it does not need.

        Engines count on a gradient of every parameter in every process and step: data-parallel ones wait for it, and
        ZeRO-3 applies the last one again where there is none.
        """
        loss, count = parts["denoising"]
        return {**parts, "denoising": (loss + 0 * idle, count)}

    def _blank_page(self) -> Tensor:
        """A number that depends on everything that reads images."""
        tower = self.lavida.get_vision_tower()
        side = tower.image_size if self.handle is None else self.handle.config.grid * tower.patch_size
        count = 1 if self.handle is None else math.prod(self.lavida.config.image_view.tiling((side, side)))
        views = torch.zeros(count, 3, side, side, device=self.lavida.device)
        if self.handle is None:
            return self.lavida.encode_images([views], [(side, side)])[0].float().sum()
        return self._idle(self.handle.encode_pages([views], [(side, side)], budget=1), views, projected=True)

    def _idle(self, pages: EncodedPages, views: Tensor | None, *, projected: bool) -> Tensor:
        """A number that depends on what not every step trains: the budget head, the relevance, and if asked what
        is read from projected tokens.

        Only the first of ``pages`` is looked at, whose views (tiles, 3, side, side) are given unless they were encoded
        before.
        """
        assert self.handle is not None
        page = pages.gather([0])
        total = torch.zeros((), device=self.lavida.device)
        if views is not None:
            logits = self.handle.budget_logits(to_device(views, self.lavida.device), page.dual.grids)
            total = total + logits.float().sum()
        if self.learns_relevance:
            words, mask = self.handle.word_embeddings([Question(ids=(0,))])
            detail = page.dual.detail.detach()
            relevance = self.lavida.shirg_x.relevance
            total = total + relevance(detail, words.detach(), mask).sum()
            if self.handle.config.source.tells_outcomes:
                total = total + relevance.telling.embed.weight.sum()
        if projected:
            (tokens,), (boxes,) = self.handle.project_tokens(page, every_token(page, page.dual.detail))
            total = total + tokens.float().sum()
            # The page's own boxes: detail tokens stand last.
            count = page.dual.detail.shape[1]
            for loss in self._of(AnswersLoss).values():
                idle = loss.idle(tokens[-count:], boxes[-count:])
                total = total if idle is None else total + idle
        return total

    def _lavida_sequences(self, batch: Batch) -> list[Tensor]:
        if not batch.views:
            return []
        encoded = self.lavida.encode_images(batch.views, batch.image_sizes)
        return [encoded[place] for place in batch.image_index]

    def _splice(self, batch: Batch, sequences: Sequence[Tensor]) -> PromptEmbeds:
        device = self.lavida.device
        labels = to_device(torch.cat(batch.labels), device).split([len(row) for row in batch.labels])
        prepared = self.lavida.splice(batch.prompts, sequences, labels)
        limit = self.lavida.config.max_sequence_length
        if max(prepared.lengths) > limit:
            worst = prepared.lengths.index(max(prepared.lengths))
            answer = int((batch.labels[worst] != IGNORE_INDEX).sum())
            text = len(batch.prompts[worst]) - answer - batch.sample_index.count(worst)
            raise ValueError(
                f"sample {batch.ids[worst]} takes {text} positions of text, {max(prepared.lengths) - text - answer} of "
                f"image and {answer} of answer, more than the {limit} of this model; shorten it or keep fewer tokens"
            )
        return prepared

    def _masks(self, prepared: PromptEmbeds, times: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(samples, length) bool, and each sample's mask probability (samples,)."""
        assert prepared.labels is not None
        labeled = prepared.labels != IGNORE_INDEX
        probability = to_device(mask_probability(times), labeled.device)
        rows = labeled.nonzero(as_tuple=True)[0]
        masked = torch.zeros_like(labeled)
        masked[labeled] = to_device(noise, labeled.device) < probability[rows]
        return masked, probability

    def _run(
        self, prepared: PromptEmbeds, times: Tensor, noise: Tensor, layers: Sequence[int] = ()
    ) -> tuple[TwoCopies, DiffusionLoss, dict[int, BlockInput]]:
        """One pass over both noisy copies: the copies, their loss, and what each of ``layers`` was given."""
        masked, probability = self._masks(prepared, times, noise)
        language = self.lavida.model
        copies = two_copies(self.lavida, prepared, masked, prefix_lm=self.loss_config.prefix_lm)
        with record_block_inputs(language, layers) as inputs:
            hidden = language(copies.embeds, copies.attention_mask, copies.position_ids)
        loss = diffusion_loss(
            self.lavida,
            copies,
            hidden,
            num_samples=len(times),
            probabilities=probability if self.loss_config.reweight else None,
        )
        return copies, loss, inputs

    def _denoise(
        self, draws: Draws, prepared: PromptEmbeds, layers: Sequence[int] = ()
    ) -> tuple[Part, TwoCopies, dict[int, BlockInput]]:
        copies, loss, inputs = self._run(prepared, draws.times, draws.noise, layers)
        return (loss.sample_sums.sum(), loss.num_masked.sum()), copies, inputs

    def _relevance(self, rows: EncodedPages, batch: Batch, *, by_outcome: bool = False) -> Tensor:
        assert self.handle is not None
        asked = [question for question in batch.questions if question is not None]
        if len(asked) != len(batch.questions):
            raise ValueError("the learned relevance needs a question with every image; a prompt has none")
        words, mask = self.handle.word_embeddings(asked)
        detail = rows.dual.detail
        if not self.loss_config.relevance_into_tower:
            # What is taught is the relevance; the tower and the words it reads have losses of their own.
            detail, words = detail.detach(), words.detach()
        relevance = self.lavida.shirg_x.relevance
        return relevance.by_outcome(detail, words, mask) if by_outcome else relevance(detail, words, mask)

    def _gated(self, rows: EncodedPages, batch: Batch, draws: Draws) -> list[Tensor]:
        assert self.handle is not None
        assert draws.budget is not None
        detail = rows.dual.detail
        shapes = [(count, detail.shape[2]) for count in rows.dual.num_patches]
        noise = to_device(draw_image_noise(batch, draws.gate_seed, shapes), detail.device)
        relevance = self._relevance(rows, batch)
        # Statistics of a page are its own patches', so that pages of other grids are gated apart.
        groups, gated = rows.dual.alike(), []
        for places, part in groups:
            own = slice(part.detail.shape[1])
            gated.append(noise_gate(part.detail, relevance[places, own], noise[places, own], keep=draws.budget))
        features = together(gated, [places for places, _ in groups])
        return self.handle.project_tokens(rows, every_token(rows, features))[0]

    def _teach_relevance(self, batch: Batch, draws: Draws, pages: EncodedPages, rows: EncodedPages) -> Part:
        # Padding is never relevant.
        real = torch.arange(rows.dual.detail.shape[1]) < torch.tensor(rows.dual.num_patches)[:, None]
        assert self.handle is not None
        boxes, source = self.loss_config.relevance_teacher == "boxes", self.handle.config.source
        told = boxes and source.tells_outcomes
        assert source.inverse_temperature is not None
        relevance = self._relevance(rows, batch, by_outcome=told)
        never = ~to_device(real, relevance.device)
        relevance = relevance.masked_fill(never[..., None] if told else never, NEVER)
        if told:
            wanted = outcomes_wanted(batch, rows.dual.boxes)
        elif boxes:
            wanted = relevant_patches(batch, rows.dual.boxes)
        else:
            wanted = self._attention_to_patches(batch, draws, pages)
        return relevance_loss(relevance.flatten(1), wanted.flatten(1), scale=source.inverse_temperature)

    @torch.no_grad()
    def _attention_to_patches(self, batch: Batch, draws: Draws, pages: EncodedPages) -> Tensor:
        """(images, patches) float32: what answer positions look at when they may look at every patch."""
        assert self.handle is not None
        counts = [pages.dual.num_patches[place] for place in batch.image_index]
        rows = pages.gather(batch.image_index, counts)
        sequences, _ = self.handle.project_tokens(rows, every_token(rows, rows.dual.detail))
        prepared = self._splice(batch, sequences)
        copies, _, inputs = self._run(prepared, draws.times, draws.noise, self.loss_config.pointing_layers)
        places, real = query_places(copies.asking)
        heads = self.lavida.config.num_attention_heads
        looks = torch.stack([log_attention(given, places, heads).exp().mean(1) for given in inputs.values()]).mean(0)
        looks = (looks * real[..., None]).sum(1)
        # Copies along the batch are two rows of one sample.
        per_sample = torch.zeros(len(batch.ids), looks.shape[1], device=looks.device).index_add(
            0, copies.samples, looks
        )
        starts = detail_starts(batch, [len(row) for row in sequences], counts)
        return pad_sequence(
            [
                per_sample[sample, start : start + count]
                for sample, start, count in zip(batch.sample_index, starts, counts, strict=True)
            ],
            batch_first=True,
        )

    def _measure_budgets(self, seen: PagesSeen, draws: Draws) -> tuple[Tensor, Tensor]:
        """What the budget head sees of each page, and the budget that would have done."""
        assert self.handle is not None
        slack = self.loss_config.budget_slack
        pixels = torch.cat([to_device(view, self.lavida.device) for view in seen.batch.views])
        maps = self.handle.budget_maps(pixels, seen.pages.dual.grids)
        if not self.learns_budget_by_evidence:
            return maps, budget_labels(self._losses_at_budgets(seen, draws), slack=slack)
        kept, known = evidence_kept(self.handle, seen)
        return maps[known], evidence_labels(kept, slack=slack)[known]

    def _losses_at_budgets(self, seen: PagesSeen, draws: Draws) -> Tensor:
        """(draws, images, budgets) float32: what the questions of each page lose at each budget."""
        assert self.handle is not None
        device, batch, measured = self.lavida.device, seen.batch, []
        owner = to_device(torch.tensor(batch.image_index), device)
        sample = to_device(torch.tensor(batch.sample_index), device)
        with torch.no_grad():
            for budget in self.handle.config.budgets:
                rows = seen.rows(budget)
                prepared = self._splice(batch, self.handle.select_tokens(rows, batch.questions).sequences)
                for times, noise in draws.measurements:
                    _, loss, _ = self._run(prepared, times, noise)
                    sums = torch.zeros(len(batch.views), device=device)
                    measured.append(sums.index_add(0, owner, loss.sample_sums[sample]))
        return torch.stack(measured).unflatten(0, (len(self.handle.config.budgets), -1)).permute(1, 2, 0)
