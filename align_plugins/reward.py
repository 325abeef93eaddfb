"""`reward`: a reward model from preference pairs (losses/reward.py), at once a judge.

It reads exactly what that judge reads (eval_anything/scorers/reading.py), so `--judge NAME=<out>/final`
is all it takes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from align_plugins.data.rows import Preference
from align_plugins.dpo import without_ties
from align_plugins.finetuning import Finetuning
from align_plugins.losses.reward import reward_loss
from align_plugins.policies import policy_of
from align_plugins.policies.base import padded_right
from align_plugins.policies.chat import ChatPolicy
from align_plugins.policies.micro import MicroPolicy
from align_plugins.settings import TrainSettings
from align_plugins.workdir import Workdir
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.micro.agreement import pairs_of
from eval_anything.progress import Progress
from eval_anything.stats import mean_interval

if TYPE_CHECKING:
    import torch

    from align_plugins.engine import Step

Ids = list[int]


class RewardSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `reward`.

    Attributes:
        views: what the model reads at once: the whole response, or (for a judge with metrics such as
            text_image) each pair of its modalities, whose mean is the reward of the response.
        margins: whether a pair's `margin` is what its rewards must differ by.
        regulariser: weight of the mean square of rewards.
        held_out: share of the prompts, 0 to 1, on which accuracy is measured and nothing is learned.
    """

    views: Literal["whole", "pairs"] = "whole"
    margins: bool = False
    regulariser: float = 0.001
    held_out: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.held_out < 1:
            raise ValueError("held_out must be a share from 0 to below 1")
        if self.evaluate is not None:
            raise ValueError(
                "evaluate: a reward model answers no task; its accuracy on held_out prompts is measured"
            )


class RewardItem(NamedTuple):
    """What is read of both sides of a pair: token ids of one view or several."""

    chosen: list[Ids]
    rejected: list[Ids]
    margin: float
    cluster: str


class RewardTrainer(Finetuning[RewardSettings, Preference, RewardItem]):
    """A scalar head on a checkpoint, which gives the chosen responses more than the rejected ones."""

    name: ClassVar[str] = "reward"
    settings_type: ClassVar[type[TrainSettings]] = RewardSettings
    row_type = Preference

    def __init__(self, settings: RewardSettings) -> None:
        super().__init__(settings)
        policy = policy_of(settings.model)
        assert isinstance(policy, MicroPolicy | ChatPolicy)
        self.policy = policy
        self._reader: Any = None
        self._held_out: list[RewardItem] = []

    def weights(self) -> str:
        return self.policy.weights()

    def load(self) -> None:
        from transformers import AutoConfig, AutoModelForSequenceClassification
        from transformers.utils import logging

        from eval_anything.scorers.reading import TextReader

        path = self.policy.path if isinstance(self.policy, MicroPolicy) else self.policy.source.location
        config = AutoConfig.from_pretrained(path, num_labels=1)
        if isinstance(self.policy, ChatPolicy):
            self._reader = TextReader()
            self._reader.load(Path(path))
            tokenizer = self._reader.tokenizer
            if config.get_text_config(decoder=True).pad_token_id is None:
                end = tokenizer.pad_token_id
                config.pad_token_id = end if end is not None else tokenizer.eos_token_id
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # it warns that the head is new, which is what is wanted
        try:
            self.model = AutoModelForSequenceClassification.from_pretrained(
                path, config=config, dtype="float32", use_safetensors=True
            )
        except ValueError as error:
            raise UserError(f"model: {path} cannot have a scalar head: {error}") from None
        finally:
            logging.set_verbosity(level)

    def rows(self, rows: list[Preference], progress: Progress) -> list[Preference]:
        return without_ties(rows, progress)

    def encode(self, row: Preference) -> RewardItem:
        margin = row.margin if self.settings.margins and row.margin is not None else 0.0
        chosen, rejected = (self._views(row.messages, side) for side in (row.chosen, row.rejected))
        return RewardItem(chosen, rejected, margin, row.source_id)

    def _views(self, messages: Sequence[Message], parts: Sequence[Part]) -> list[Ids]:
        if self.settings.views == "whole":
            return [self._ids(messages, parts)]
        by_modality = _one_each(parts)
        pairs = pairs_of(tuple(by_modality))
        if not pairs:
            raise ValueError("a response has one modality, and `views: pairs` reads two together")
        return [self._ids(messages, [by_modality[m] for m in pair]) for pair in pairs]

    def _ids(self, messages: Sequence[Message], parts: Sequence[Part]) -> Ids:
        if isinstance(self.policy, MicroPolicy):
            encoded = self.policy.encode(messages, parts)
            return encoded.prompt + encoded.response
        from eval_anything.scorers.reading import Question

        ids: Ids = self._reader.ids(Question(messages, parts))
        return ids

    def length(self, item: RewardItem) -> int:
        return max(len(view) for side in (item.chosen, item.rejected) for view in side)

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

        sides = [item.chosen for item in items] + [item.rejected for item in items]
        rows = [view for side in sides for view in side]
        pad = self.model.config.get_text_config(decoder=True).pad_token_id
        return {
            "inputs": {
                "input_ids": padded_right(rows, pad),
                "attention_mask": padded_right([[1] * len(row) for row in rows], 0),
            },
            "views": torch.tensor([len(side) for side in sides]),
            "margin": torch.tensor([item.margin for item in items]),
        }

    def _rewards(self, model: Any, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rewards of the chosen and of the rejected responses, float32 (pairs,)."""
        import torch

        scalars = model(**batch["inputs"], use_cache=False).logits[:, 0].float()
        sides = torch.stack([side.mean() for side in scalars.split(batch["views"].tolist())])
        return sides[: len(sides) // 2], sides[len(sides) // 2 :]

    def step(self, model: Any, batch: Mapping[str, Any], count: torch.Tensor | None) -> Step:
        from align_plugins.engine import Step

        chosen, rejected = self._rewards(model, batch)
        loss = reward_loss(chosen, rejected, batch["margin"], self.settings.regulariser)
        n = float(len(chosen))
        figures = {
            "accuracy": ((chosen > rejected).float().mean(), n),
            "margin": ((chosen - rejected).mean(), n),
            "reward": (chosen.mean() / 2 + rejected.mean() / 2, n),
        }
        return Step(loss, figures, batch["inputs"]["input_ids"].numel())

    def finish(self, work: Workdir, progress: Progress) -> dict[str, Any]:
        """Accuracy of what was saved on the held-out pairs: a tie of rewards is half right."""
        import torch
        from transformers import AutoModelForSequenceClassification

        from align_plugins.engine import to_device

        if not self._held_out:
            return {}
        model = AutoModelForSequenceClassification.from_pretrained(work.final, dtype="float32").eval()
        model.to(self.model.device)
        credits: list[float] = []
        with torch.no_grad():
            for start in range(0, len(self._held_out), self.settings.batch_size):
                batch = self.collate(self._held_out[start : start + self.settings.batch_size])
                chosen, rejected = self._rewards(model, to_device(batch, model.device))
                credits += ((chosen > rejected).float() + (chosen == rejected).float() / 2).tolist()
        found = mean_interval(credits, [item.cluster for item in self._held_out], (0.0, 1.0))
        ends = f"{found.low:.3f} .. {found.high:.3f}"
        line = f"accuracy on {found.n} held-out pairs: {found.value:.3f} ({ends})"
        accuracy = {"value": found.value, "ci95": [found.low, found.high], "n": found.n}
        return {"accuracy": accuracy, "lines": [line, f"as a judge: --judge NAME={work.final}"]}

    def save_beside(self, folder: Path) -> None:
        if isinstance(self.policy, MicroPolicy):
            self.policy.save_beside(folder)
        else:
            self._reader.tokenizer.save_pretrained(folder)

    def lora_task(self) -> dict[str, Any]:
        return {"task_type": "SEQ_CLS"}

    @property
    def saves_merged(self) -> bool:
        return True  # a judge is a whole checkpoint


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
