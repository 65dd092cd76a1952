"""Everything that one training step computes, as one module: engines wrap it, and its parameters are what they see.

views -> tower -> selection -> projector -> prompts -> two noisy copies -> language model -> losses
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lavida_shirg_integration import EncodedPages, ShirgXHandle, ShirgXPrefix
from llava.constants import IGNORE_INDEX
from llava.data.batch import Batch, detail_starts
from llava.data.page_truth import KINDS
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion
from llava.model.multimodal_encoder.siglip_encoder import record_input
from llava.model.splice import PromptEmbeds
from llava.question import Question
from llava.seeds import stable_seed
from llava.train.losses.budget import budget_labels, budget_loss
from llava.train.losses.config import PAGE_LOSSES, LossConfig, Parts
from llava.train.losses.coordinates import CoordinateProbe
from llava.train.losses.objective import DiffusionLoss, TwoCopies, diffusion_loss, mask_probability, two_copies
from llava.train.losses.pages import PageLosses
from llava.train.losses.pointing import BlockInput, log_attention, query_places, record_block_inputs
from llava.train.losses.relevance import noise_gate, relevance_loss
from shirg.tokens import TokenSet
from shirg.transfer import to_device


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
    measurements: tuple[tuple[Tensor, Tensor], ...] = ()
    """(times, noise) of each draw over which budgets are measured; empty in a step that measures none."""


class TrainingModel(nn.Module):
    """LaViDa with the losses of a stage; ``page_losses`` and ``probe`` hold parameters that only losses need.

    Args:
        handle: the live patch; None, or one in stock mode, for LaViDa's own encoding.
        page_losses: what drawn pages can teach; None where there are none.

    Raises:
        ValueError: if a loss needs drawn pages or SHIRG-X and goes without, or layers or heads that do not exist.
    """

    def __init__(
        self,
        lavida: LlavaLladaForMaskedDiffusion,
        handle: ShirgXHandle | None,
        losses: LossConfig,
        page_losses: PageLosses | None = None,
    ) -> None:
        super().__init__()
        self.lavida = lavida
        self.handle = handle if handle is not None and handle.config.mode == "shirg_x" else None
        self.losses = losses
        self.page_losses = page_losses
        self._check()
        self.probe: CoordinateProbe | None = None
        if self.handle is not None and losses.coordinate and losses.denoising:
            self.probe = CoordinateProbe(lavida.config.hidden_size)

    @property
    def learns_relevance(self) -> bool:
        """Whether the relevance has a teacher here."""
        return self.handle is not None and self.handle.config.source.weights is not None and self.losses.relevance > 0

    def _check(self) -> None:
        losses = self.losses
        wanted = [name for name in PAGE_LOSSES if getattr(losses, name)]
        if self.learns_relevance and losses.relevance_teacher == "boxes":
            wanted.append("relevance_teacher: boxes")
        if wanted and (self.handle is None or self.page_losses is None):
            raise ValueError(f"losses: {wanted[0]} needs drawn pages and SHIRG-X; leave it out, or train with both")
        heads = self.lavida.get_vision_tower().config.num_attention_heads
        if losses.labeling and heads < len(KINDS):
            raise ValueError(f"losses: labeling needs {len(KINDS)} heads in the vision tower, which has {heads}")
        if losses.looks or (self.learns_relevance and losses.relevance_teacher == "attention"):
            layers, heads = len(self.lavida.model.blocks), self.lavida.config.n_heads
            if not all(0 <= layer < layers for layer in (*losses.pointing_layers, *losses.watched_layers)):
                raise ValueError(
                    f"losses: pointing_layers must lie from 0 to {layers - 1} in this model, got "
                    f"{losses.pointing_layers}"
                )
            if losses.pointing_heads > heads:
                raise ValueError(f"losses: pointing_heads must be at most {heads}, got {losses.pointing_heads}")

    def forward(self, batch: Batch, draws: Draws) -> Parts:
        """The parts of the loss of a batch; what needs images is missing where there are none.

        Raises:
            ValueError: if prompts, images and answers exceed the context. A relevance taught by attention or by the
                gate reads every patch of an image, so there the images must fit whole.
        """
        parts: Parts = {}
        if self.handle is None or not batch.views:
            if self.losses.denoising:
                self._denoise(parts, batch, draws, self._splice(batch, self._lavida_sequences(batch)), None)
                if not batch.views:
                    self._hang(parts, self._blank_page())
            return parts
        tower = self.lavida.get_vision_tower()
        with record_input(tower.selected_layer) as given:
            pages = self.handle.encode_pages(batch.views, batch.image_sizes, budget=draws.budget)
        words: Mapping[str, Tensor] = {}
        if self.page_losses is not None:
            words = self.page_losses.read(parts, batch, pages, self.lavida)
            if self.losses.labeling:
                (hidden,) = given
                self.page_losses.label(parts, batch, tower.selected_layer, hidden)
        if not self.losses.denoising:
            return parts
        rows = _rows(pages, batch, draws.budget)
        if draws.gate:
            self._denoise(parts, batch, draws, self._splice(batch, self._gated(rows, batch, draws)), None)
        else:
            prefix = self.handle.select_tokens(rows, batch.questions, similarity=_chance(rows, batch, draws))
            copies, inputs = self._denoise(parts, batch, draws, self._splice(batch, prefix.sequences), prefix)
            if self.probe is not None:
                self._probe_coordinates(parts, prefix, self.probe)
            if self.page_losses is not None and self.losses.looks:
                self.page_losses.look(parts, batch, prefix, copies, inputs, words, self.lavida.model.head_weight)
        if self.learns_relevance and not draws.gate and self.losses.relevance_teacher != "gate":
            self._teach_relevance(parts, batch, draws, pages, rows)
        if draws.measurements:
            self._measure_budgets(parts, batch, draws, pages)
        self._hang(parts, self._idle(pages, batch.views[0], projected=draws.gate))
        return parts

    def _hang(self, parts: Parts, idle: Tensor) -> None:
        """Let the denoising loss reach, at zero, what it does not need.

        Engines count on a gradient of every parameter in every process and step: data-parallel ones wait for it, and
        ZeRO-3 applies the last one again where there is none.
        """
        loss, count = parts["denoising"]
        parts["denoising"] = (loss + 0 * idle, count)

    def _blank_page(self) -> Tensor:
        """A number that depends on everything that reads images."""
        tower = self.lavida.get_vision_tower()
        side = tower.image_size if self.handle is None else self.handle.config.grid * tower.patch_size
        view = torch.zeros(1, 3, side, side, device=self.lavida.device)
        if self.handle is None:
            return self.lavida.encode_images([view], [(side, side)])[0].float().sum()
        return self._idle(self.handle.encode_pages([view], [(side, side)], budget=1), view, projected=True)

    def _idle(self, pages: EncodedPages, view: Tensor, *, projected: bool) -> Tensor:
        """A number that depends on what not every step trains: the budget head, the relevance, and if asked what
        is read from projected tokens.

        Only the first of ``pages`` is looked at, whose view (1, 3, side, side) is given.
        """
        assert self.handle is not None
        page = pages.gather([0])
        total = self.handle.budget_logits(to_device(view, self.lavida.device)).float().sum()
        if self.learns_relevance:
            words, mask = self.handle.word_embeddings([Question(ids=(0,))])
            detail = page.dual.detail.detach()
            total = total + self.lavida.shirg_x.relevance(detail, words.detach(), mask).sum()
        if projected:
            (tokens,), (boxes,) = self.handle.project_tokens(page, _every_token(page, page.dual.detail))
            total = total + tokens.float().sum()
            if self.probe is not None:
                # The page's own boxes: detail tokens stand last.
                count = page.dual.detail.shape[1]
                total = total + self.probe(tokens[-count:], boxes[-count:]).sum()
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
        copies = two_copies(self.lavida, prepared, masked, prefix_lm=self.losses.prefix_lm)
        with record_block_inputs(language, layers) as inputs:
            hidden = language(copies.embeds, copies.attention_mask, copies.position_ids)
        loss = diffusion_loss(
            self.lavida,
            copies,
            hidden,
            num_samples=len(times),
            probabilities=probability if self.losses.reweight else None,
        )
        return copies, loss, inputs

    def _denoise(
        self, parts: Parts, batch: Batch, draws: Draws, prepared: PromptEmbeds, prefix: ShirgXPrefix | None
    ) -> tuple[TwoCopies, dict[int, BlockInput]]:
        layers = () if prefix is None else self.losses.watched_layers
        copies, loss, inputs = self._run(prepared, draws.times, draws.noise, layers)
        parts["denoising"] = (loss.sample_sums.sum(), loss.num_masked.sum())
        return copies, inputs

    def _probe_coordinates(self, parts: Parts, prefix: ShirgXPrefix, probe: CoordinateProbe) -> None:
        count = prefix.tokens.lengths
        tokens = torch.cat([row[-length:] for row, length in zip(prefix.sequences, count, strict=True)])
        boxes = torch.cat([row[-length:] for row, length in zip(prefix.boxes, count, strict=True)])
        errors = probe(tokens, boxes)
        parts["coordinate"] = (errors.sum(), torch.tensor(len(errors), device=errors.device))

    def _relevance(self, rows: EncodedPages, batch: Batch) -> Tensor:
        assert self.handle is not None
        asked = [question for question in batch.questions if question is not None]
        if len(asked) != len(batch.questions):
            raise ValueError("the learned relevance needs a question with every image; a prompt has none")
        words, mask = self.handle.word_embeddings(asked)
        # What is taught is the relevance; the tower and the words it reads have losses of their own.
        return self.lavida.shirg_x.relevance(rows.dual.detail.detach(), words.detach(), mask)

    def _gated(self, rows: EncodedPages, batch: Batch, draws: Draws) -> list[Tensor]:
        assert self.handle is not None
        assert draws.budget is not None
        detail = rows.dual.detail
        noise = to_device(_image_noise(batch, draws.gate_seed, detail.shape[1:]), detail.device)
        features = noise_gate(detail, self._relevance(rows, batch), noise, keep=draws.budget)
        return self.handle.project_tokens(rows, _every_token(rows, features))[0]

    def _teach_relevance(
        self, parts: Parts, batch: Batch, draws: Draws, pages: EncodedPages, rows: EncodedPages
    ) -> None:
        relevance = self._relevance(rows, batch)
        if self.losses.relevance_teacher == "boxes":
            assert self.page_losses is not None
            wanted = self.page_losses.relevant_patches(batch, rows)
        else:
            wanted = self._attention_to_patches(batch, draws, pages)
        parts["relevance"] = relevance_loss(relevance, wanted)

    @torch.no_grad()
    def _attention_to_patches(self, batch: Batch, draws: Draws, pages: EncodedPages) -> Tensor:
        """(images, patches) float32: what answer positions look at when they may look at every patch."""
        assert self.handle is not None
        patches = pages.dual.detail.shape[1]
        rows = pages.gather(batch.image_index, patches)
        sequences, _ = self.handle.project_tokens(rows, _every_token(rows, rows.dual.detail))
        prepared = self._splice(batch, sequences)
        copies, _, inputs = self._run(prepared, draws.times, draws.noise, self.losses.pointing_layers)
        places, real = query_places(copies.masked)
        heads = self.lavida.config.n_heads
        looks = torch.stack([log_attention(given, places, heads).exp().mean(1) for given in inputs.values()]).mean(0)
        looks = (looks * real[..., None]).sum(1)
        # Copies along the batch are two rows of one sample.
        per_sample = torch.zeros(len(batch.ids), looks.shape[1], device=looks.device).index_add(
            0, copies.samples, looks
        )
        starts = detail_starts(batch, [len(row) for row in sequences], patches)
        return torch.stack(
            [
                per_sample[sample, start : start + patches]
                for sample, start in zip(batch.sample_index, starts, strict=True)
            ]
        )

    def _measure_budgets(self, parts: Parts, batch: Batch, draws: Draws, pages: EncodedPages) -> None:
        assert self.handle is not None
        device = self.lavida.device
        owner = to_device(torch.tensor(batch.image_index), device)
        sample = to_device(torch.tensor(batch.sample_index), device)
        measured = []
        with torch.no_grad():
            for budget in self.handle.config.budgets:
                rows = _rows(pages, batch, budget)
                prepared = self._splice(batch, self.handle.select_tokens(rows, batch.questions).sequences)
                for times, noise in draws.measurements:
                    _, loss, _ = self._run(prepared, times, noise)
                    sums = torch.zeros(len(batch.views), device=device)
                    measured.append(sums.index_add(0, owner, loss.sample_sums[sample]))
        losses = torch.stack(measured).unflatten(0, (len(self.handle.config.budgets), -1)).permute(1, 2, 0)
        logits = self.handle.budget_logits(torch.cat([to_device(view, device) for view in batch.views]))
        errors = budget_loss(logits, budget_labels(losses, slack=self.losses.budget_slack))
        parts["budget"] = (errors.sum(), torch.tensor(len(errors), device=device))


def _rows(pages: EncodedPages, batch: Batch, budget: int | None) -> EncodedPages:
    """One row for each image of every sample; where padding leaves fewer patches than the budget, it keeps them all.

    A narrow image among thousands must not end a run, as it does where a user asks for a budget it cannot fill.
    """
    counts = [pages.candidate_counts[place] for place in batch.image_index]
    return pages.gather(batch.image_index, None if budget is None else [min(budget, count) for count in counts])


def _chance(rows: EncodedPages, batch: Batch, draws: Draws) -> Tensor | None:
    """(images, patches) noise in place of the similarity, in a step that chooses tokens at random."""
    if draws.selection_seed is None:
        return None
    return to_device(_image_noise(batch, draws.selection_seed, rows.dual.detail.shape[1:2]), rows.dual.detail.device)


def _image_noise(batch: Batch, seed: int, shape: Sequence[int]) -> Tensor:
    """(images, *shape) standard normal, drawn image by image, so that no sample's noise depends on its batch mates."""
    drawn = []
    for row, sample in enumerate(batch.sample_index):
        place = batch.sample_index[:row].count(sample)
        generator = torch.Generator().manual_seed(stable_seed("image", seed, batch.ids[sample], place))
        drawn.append(torch.randn(*shape, generator=generator))
    return torch.stack(drawn)


def _every_token(rows: EncodedPages, features: Tensor) -> TokenSet:
    """All patches of each page as its detail tokens, with these features (batch, patches, dim)."""
    return TokenSet(
        features=features,
        boxes=rows.dual.boxes,
        areas=torch.ones(features.shape[:2], device=features.device),
        lengths=(features.shape[1],) * len(features),
    )
