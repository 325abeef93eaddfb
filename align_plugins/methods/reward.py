"""`reward`: a reward model from preference pairs (losses/reward.py), at once a judge.

It reads exactly what that judge reads (eval_anything/judges/kinds/reward/readers.py), so
`--judge NAME=<out>/final` is all it takes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from align_plugins.data.rows import Preference
from align_plugins.losses.reward import aspect_loss, reward_loss
from align_plugins.methods.dpo import without_ties
from align_plugins.policies import policy_of
from align_plugins.policies.base import RowError, inputs_of, padded_right, too_long
from align_plugins.policies.chat import ChatPolicy
from align_plugins.policies.micro import MicroPolicy
from align_plugins.settings import TrainSettings
from align_plugins.training.batch_finetuning import BatchFinetuning
from align_plugins.workdir import Workdir
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.errors import UserError, near
from eval_anything.judges.kinds.reward.classes import OVERALL_HEAD, scored_class
from eval_anything.judges.kinds.reward.readers import (
    MediaReader,
    Question,
    Reading,
    TextReader,
    UnreadableError,
    names_of,
)
from eval_anything.micro.world.synergy import pairs_of
from eval_anything.models.hf.architecture import auto_class
from eval_anything.models.hf.source import Source
from eval_anything.output.progress import Progress
from eval_anything.statistics.intervals import mean_interval

if TYPE_CHECKING:
    import torch

    from align_plugins.training.engine import Step


class RewardSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `reward`.

    Attributes:
        views: what the model reads at once: the whole response, or (for a judge with metrics such as
            text_image) each pair of its modalities, whose mean is the reward of the response.
        margins: whether a pair's `margin` is what its rewards must differ by.
        aspects: those of the rows' `aspects` that get a head of their own beside the overall one.
        aspect_weight: of their loss, beside 1 of the overall one.
        regulariser: weight of the mean square of rewards.
        held_out: share of the prompts, 0 to 1, on which accuracy is measured and nothing is learned.
    """

    views: Literal["whole", "pairs"] = "whole"
    margins: bool = False
    aspects: list[str] = []
    aspect_weight: float = 1.0
    regulariser: float = 0.001
    held_out: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.held_out < 1:
            raise ValueError("held_out must be a share from 0 to below 1")
        if self.aspect_weight < 0:
            raise ValueError("aspect_weight must not be below 0")
        if len({*self.aspects, OVERALL_HEAD}) <= len(self.aspects):
            raise ValueError(f"aspects must differ from each other and from {OVERALL_HEAD!r}")
        if self.evaluate is not None:
            raise ValueError(
                "evaluate: a reward model answers no task; its accuracy on held-out prompts is measured"
            )


class View(NamedTuple):
    """What is read at once: token ids, or a question whose media are read when its batch is made.
    `tokens` is 0 where nobody asked how many they are."""

    content: Reading | Question
    tokens: int = 0


class RewardItem(NamedTuple):
    """What is read of both sides of a pair: one view or several. `aspects` are the differences of the
    ratings, chosen less rejected, 0 where nobody rated. `row` is the pair's id, for messages."""

    chosen: list[View]
    rejected: list[View]
    margin: float
    aspects: tuple[float, ...]
    cluster: str
    row: str


class RewardTrainer(BatchFinetuning[RewardSettings, Preference, RewardItem]):
    """Scalar heads on a checkpoint, which give the chosen responses more than the rejected ones."""

    name: ClassVar[str] = "reward"
    settings_type: ClassVar[type[TrainSettings]] = RewardSettings
    row_type = Preference

    def __init__(self, settings: RewardSettings) -> None:
        super().__init__(settings)
        policy = policy_of(settings.model, settings.loaded)
        assert isinstance(policy, MicroPolicy | ChatPolicy)
        self.policy = policy
        self._reader: Any = None  # of a policy that is not micro
        self._held_out: list[RewardItem] = []

    def weights(self) -> str:
        return self.policy.weights()

    def load(self) -> None:
        from transformers import AutoConfig
        from transformers.utils import logging

        heads = [OVERALL_HEAD, *self.settings.aspects]
        labels = {"id2label": dict(enumerate(heads))} if len(heads) > 1 else {"num_labels": 1}
        path = self.policy.path if isinstance(self.policy, MicroPolicy) else self.policy.source.location
        config = AutoConfig.from_pretrained(path, **labels)
        text = config.get_text_config(decoder=True)
        if isinstance(self.policy, ChatPolicy):
            self._reader = _reader_of(self.policy.source)
            self._reader.load(Path(path))
            if text.pad_token_id is None:
                end = self._reader.tokenizer.pad_token_id
                text.pad_token_id = end if end is not None else self._reader.tokenizer.eos_token_id
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # it warns that the head is new, which is what is wanted
        try:
            self.model = scored_class(config).from_pretrained(
                path, config=config, dtype=self.settings.loaded, use_safetensors=True
            )
        except ValueError as error:
            raise UserError(f"model: {path} cannot have a scalar head: {error}") from None
        finally:
            logging.set_verbosity(level)
        self.policy.freeze(self.model)

    def rows(self, rows: list[Preference], progress: Progress) -> list[Preference]:
        rated = {name for row in rows for name, difference in row.aspects.items() if difference}
        for name in self.settings.aspects:
            if name not in rated:
                hint = near(name, rated) or f" Rated are: {', '.join(sorted(rated)) or 'none'}."
                raise UserError(f"aspects: no pair has ratings of {name!r} that differ.{hint}")
        return without_ties(rows, progress)

    def encode(self, row: Preference) -> RewardItem:
        margin = row.margin if self.settings.margins and row.margin is not None else 0.0
        chosen, rejected = (self._views(row.messages, side) for side in (row.chosen, row.rejected))
        aspects = tuple(row.aspects.get(name, 0.0) for name in self.settings.aspects)
        return RewardItem(chosen, rejected, margin, aspects, row.source_id, row.id)

    def _views(self, messages: Sequence[Message], parts: Sequence[Part]) -> list[View]:
        if self.settings.views == "whole":
            return [self._view(messages, parts)]
        by_modality = _one_each(parts)
        pairs = pairs_of(tuple(by_modality))
        if not pairs:
            raise ValueError("a response has one modality, and `views: pairs` reads two together")
        return [self._view(messages, [by_modality[m] for m in pair]) for pair in pairs]

    def _view(self, messages: Sequence[Message], parts: Sequence[Part]) -> View:
        if isinstance(self.policy, MicroPolicy):  # it remembers the codes of media
            encoded = self.policy.encode(messages, parts)
            return View(Reading(encoded.prompt + encoded.response), encoded.tokens)
        question = Question(messages, parts)
        unseen = {part.modality for part in parts} - self._reader.sees
        if unseen:
            raise ValueError(f"a response has {names_of(unseen)}, which this checkpoint cannot read")
        asked = [part for message in messages for part in message.parts]
        media = any(isinstance(part, MediaPart) for part in (*asked, *parts))
        if media and isinstance(self._reader, MediaReader) and self.settings.max_tokens is None:
            self._reader.check(question)
            return View(question)
        read = self._reading(question)
        return View(question if media else read, len(read.ids))

    def _reading(self, question: Question) -> Reading:
        """What the model takes, after media have become tokens where they do."""
        import torch

        read: Reading = self._reader.read(question)
        if not read.media:
            return read
        assert isinstance(self.policy, ChatPolicy)
        given = {"input_ids": torch.tensor([read.ids]), **read.media}
        found = self.policy.as_tokens(self.model.base_model, given)
        return Reading(found.pop("input_ids")[0].tolist(), found)

    def length(self, item: RewardItem) -> int:
        return max(view.tokens for side in (item.chosen, item.rejected) for view in side)

    def prepare(self, items: list[RewardItem], work: Workdir, progress: Progress) -> list[RewardItem]:
        """Sets the held-out prompts aside: whole clusters, so that none is on both sides."""
        clusters = sorted({item.cluster for item in items})
        random.Random(f"held-out-{self.settings.seed}").shuffle(clusters)
        aside = set(clusters[: round(self.settings.held_out * len(clusters))])
        self._held_out = [item for item in items if item.cluster in aside]
        return [item for item in items if item.cluster not in aside]

    def collate(self, items: Sequence[RewardItem]) -> dict[str, Any]:
        """Views in rows, the chosen sides' first; `views` says how many each side has."""
        import torch

        sides = [(i.row, i.chosen) for i in items] + [(i.row, i.rejected) for i in items]
        read = [self._content(row, view.content) for row, side in sides for view in side]
        pad = self.model.config.get_text_config(decoder=True).pad_token_id
        rows = [one.ids for one in read]
        mask = padded_right([[1] * len(row) for row in rows], 0)
        return {
            "inputs": inputs_of(rows, [one.media for one in read], pad) | {"attention_mask": mask},
            "views": torch.tensor([len(side) for _, side in sides]),
            "margin": torch.tensor([item.margin for item in items]),
            "aspects": torch.tensor([item.aspects for item in items]),
        }

    def _content(self, row: str, content: Reading | Question) -> Reading:
        """RowError for media of a row that cannot be read, or are too many tokens."""
        if isinstance(content, Reading):
            return content
        try:
            read = self._reading(content)
        except UnreadableError as error:
            raise RowError(row, str(error)) from None
        positions = self.positions()
        if positions is not None and len(read.ids) > positions:
            raise RowError(row, too_long(len(read.ids), positions))
        return read

    def _rewards(self, model: Any, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rewards of the chosen and of the rejected responses, float32 (pairs, heads)."""
        import torch

        scalars = model(**batch["inputs"], use_cache=False).logits.float()
        sides = torch.stack([side.mean(dim=0) for side in scalars.split(batch["views"].tolist())])
        return sides[: len(sides) // 2], sides[len(sides) // 2 :]

    def step(self, model: Any, batch: Mapping[str, Any], count: torch.Tensor | None) -> Step:
        from align_plugins.training.engine import Step

        settings = self.settings
        chosen, rejected = self._rewards(model, batch)
        loss = reward_loss(chosen[:, 0], rejected[:, 0], batch["margin"], settings.regulariser)
        if settings.aspects:
            of_aspects = aspect_loss(
                chosen[:, 1:], rejected[:, 1:], batch["aspects"], settings.regulariser
            )
            loss = loss + settings.aspect_weight * of_aspects
        n = float(len(chosen))
        figures = {
            "margin": ((chosen - rejected)[:, 0].mean(), n),
            "reward": ((chosen + rejected)[:, 0].mean() / 2, n),
        }
        right = _credits(chosen.detach(), rejected.detach(), batch["aspects"])
        for name, credits in zip(
            ("accuracy", *(f"accuracy_{a}" for a in settings.aspects)), right, strict=True
        ):
            if len(credits):
                figures[name] = (credits.mean(), float(len(credits)))
        return Step(loss, figures, batch["inputs"]["input_ids"].numel())

    def finish(self, work: Workdir, progress: Progress) -> dict[str, Any]:
        """Accuracy of what was saved on the held-out pairs, for each head on those that it was rated
        on: a tie of rewards is half right."""
        import torch
        from transformers import AutoConfig

        from align_plugins.training.engine import to_device

        if not self._held_out:
            return {}
        config = AutoConfig.from_pretrained(work.final)
        model = scored_class(config).from_pretrained(work.final, config=config, dtype="float32").eval()
        model.to(self.model.device)
        heads = ("accuracy", *self.settings.aspects)
        right: dict[str, list[float]] = {name: [] for name in heads}
        with torch.no_grad():
            for start in range(0, len(self._held_out), self.settings.batch_size):
                batch = self.collate(self._held_out[start : start + self.settings.batch_size])
                batch = to_device(batch, model.device)
                found = _credits(*self._rewards(model, batch), batch["aspects"])
                for name, credits in zip(heads, found, strict=True):
                    right[name] += credits.tolist()
        about: dict[str, Any] = {}
        lines = []
        for place, (name, credits) in enumerate(right.items()):
            clusters = [i.cluster for i in self._held_out if not place or i.aspects[place - 1]]
            if not credits:
                lines.append(f"{name}: no held-out pair was rated on it")
                continue
            estimate = mean_interval(credits, clusters, (0.0, 1.0))
            ci95 = [estimate.low, estimate.high]
            figure = {"value": estimate.value, "ci95": ci95, "n": estimate.n}
            shown = f"{estimate.value:.3f} ({estimate.low:.3f} .. {estimate.high:.3f})"
            if place:
                about.setdefault("aspects", {})[name] = figure
                lines.append(f"{name}: {shown} on the {estimate.n} of them that were rated on it")
            else:
                about["accuracy"] = figure
                lines.append(f"accuracy on {estimate.n} held-out pairs: {shown}")
        return {**about, "lines": [*lines, f"as a judge: --judge NAME={work.final}"]}

    def save_beside(self, folder: Path) -> None:
        if isinstance(self.policy, MicroPolicy):
            self.policy.save_beside(folder)
        else:
            self._reader.save(folder)

    def lora_task(self) -> dict[str, Any]:
        frozen = self.policy.frozen
        return {"task_type": "SEQ_CLS"} | ({"exclude_modules": frozen} if frozen else {})

    @property
    def saves_merged(self) -> bool:
        return True  # a judge is a whole checkpoint


def _reader_of(source: Source) -> MediaReader | TextReader:
    """What reads for the judge that a checkpoint becomes."""
    _, reads_media = auto_class(source.location, source.config, trusted=False)
    return MediaReader(Path(source.location)) if reads_media else TextReader()


def _credits(chosen: torch.Tensor, rejected: torch.Tensor, aspects: torch.Tensor) -> list[torch.Tensor]:
    """How right each head is, the overall one first: 1 for each pair in which the better response gets
    more, a half for a tie. Of aspects the pairs whose ratings differ, so lengths do."""
    import torch

    truth = torch.cat([torch.ones_like(chosen[:, :1]), aspects], dim=1).sign()
    right = ((chosen - rejected).sign() * truth + 1) / 2
    return [values[rated != 0] for values, rated in zip(right.T, truth.T, strict=True)]


def _one_each(parts: Sequence[Part]) -> dict[Modality, Part]:
    """One part of each modality, as the judge takes them: all text, and the first medium of a kind."""
    found: dict[Modality, Part] = {}
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if texts:
        found[Modality.TEXT] = TextPart("\n\n".join(texts))
    for part in parts:
        if isinstance(part, MediaPart):
            found.setdefault(part.modality, part)
    return found
