"""Settings of learning from language feedback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msgspec import Struct

from align_plugins.settings import MethodSettings
from eval_anything.sampling import GenerationSettings, contradiction


class Critic(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The critic: a model that is trained on critiques (`data`), one that is used as it is, or a judge.

    Attributes:
        model: a SPEC; the start if it is left out.
        data: files of feedback rows with critiques, from which `model` learns first.
        training: settings of `sft` for that.
        judge: NAME=SPEC of a judge whose explanations are the critiques (such as `critique`).
        ask: the question to the critic after prompt and response.
        fine: the critique that finds nothing wrong; such responses are not refined.
        temperature: of the critiques; 0 is greedy.
        model_args: as for `eval-anything run`.
        generation: further settings of generation, with the names of options of `eval-anything run`.
    """

    model: str | None = None
    data: str | list[str] | None = None
    training: dict[str, Any] = {}
    judge: str | None = None
    ask: str = "What is wrong with your answer? Say how to mend it, or that all is well."
    fine: str | None = None
    temperature: float = 0.0
    model_args: dict[str, str] = {}
    generation: GenerationSettings = GenerationSettings()


class FirstResponses(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sampling of first responses from the start.

    Attributes:
        temperature: of the responses.
        model_args: as for `eval-anything run`.
        generation: further settings of generation, with the names of options of `eval-anything run`.
    """

    temperature: float = 1.0
    model_args: dict[str, str] = {}
    generation: GenerationSettings = GenerationSettings()


class Refining(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sampling of refined responses.

    Attributes:
        model: a SPEC; the start if it is left out.
        shown: whether the first response is in the conversation, and the critique answers it; otherwise
            the critique follows the prompt.
        ask: text that is added to the critique.
        temperature: the same as for first responses, unless it should change the pairs by itself.
        model_args: as for `eval-anything run`.
        generation: further settings of generation, with the names of options of `eval-anything run`.
    """

    model: str | None = None
    shown: bool = True
    ask: str = ""
    temperature: float = 1.0
    model_args: dict[str, str] = {}
    generation: GenerationSettings = GenerationSettings()


class Filter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Filter of pairs: keeps those whose refined response is preferred.

    Attributes:
        judge: NAME or NAME=SPEC of a judge of any kind, or `critic`: it must find nothing wrong with the
            refined response.
        metric: of the judge; its first one if it is left out.
        least: difference, in the metric's units, that the gain of a refined response must exceed.
    """

    judge: str | None = None
    metric: str | None = None
    least: float = 0.0


class Given(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file in place of a stage and all before it: responses (demonstrations), critiques or refined
    responses (feedback rows), or preference pairs."""

    responses: str | None = None
    critiques: str | None = None
    refined: str | None = None
    pairs: str | None = None

    def __post_init__(self) -> None:
        if sum(name is not None for name in self._all) > 1:
            raise ValueError("given: one file is enough, the last stage of them")

    @property
    def _all(self) -> tuple[str | None, ...]:
        return self.responses, self.critiques, self.refined, self.pairs

    def __bool__(self) -> bool:
        return any(name is not None for name in self._all)


class FeedbackSettings(MethodSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `feedback`.

    Attributes:
        data: files of rows whose prompts are answered; none if a stage is given.
        critique: `critic`, or `none` as a control: the second response is sampled from the prompt only.
        most: number of the kept pairs that are used; all if it is left out.
        then: method that learns from the pairs: `dpo`; `ppo` with a `reward` model; `pairs` for none.
        dpo: settings of that method; likewise `reward` and `ppo`.
        stages: folder of the stages, `<out>/stages` if it is left out; trainings may share one.
        include: folders of judges.
    """

    data: str | list[str] = []
    critique: Literal["critic", "none"] = "critic"
    critic: Critic = Critic()
    sample: FirstResponses = FirstResponses()
    refine: Refining = Refining()
    filter: Filter = Filter()
    given: Given = Given()
    most: int | None = None
    then: Literal["dpo", "ppo", "pairs"] = "dpo"
    dpo: dict[str, Any] = {}
    reward: dict[str, Any] = {}
    ppo: dict[str, Any] = {}
    stages: str | None = None
    include: list[str] = []
    allow_code: bool = False

    more_files: ClassVar[tuple[str, ...]] = (
        *("critic.data", "stages", "include"),
        *("given.responses", "given.critiques", "given.refined", "given.pairs"),
    )
    more_specs: ClassVar[tuple[str, ...]] = ("critic.model", "refine.model")
    method_groups: ClassVar[Mapping[str, str]] = {
        "critic.training": "sft",
        "dpo": "dpo",
        "reward": "reward",
        "ppo": "ppo",
    }

    def __post_init__(self) -> None:
        for name in ("sample", "critic", "refine"):
            drawing = getattr(self, name)
            if drawing.temperature < 0:
                raise ValueError(f"{name}.temperature must not be below 0")
            if drawing.generation.temperature is not None:
                raise ValueError(f"{name}.generation: the temperature is {name}.temperature")
            idle = drawing.generation.idle()
            if drawing.temperature == 0 and idle:
                raise ValueError(f"{name}.generation: {contradiction(idle)}")
        if self.most is not None and self.most < 1:
            raise ValueError("most must be at least 1")
        if not self.files and not self.given:
            raise ValueError("data: name a file of prompts, or give a stage")
        if self.critic.judge is not None and (self.critic.model or self.critic.data):
            raise ValueError("critic: either a judge, or a model with data or without")
        if self.filter.judge == "critic" and (self.critic.fine is None or self.critic.judge is not None):
            raise ValueError(
                "filter.judge: critic needs critic.fine, what the critic says where nothing is to be "
                "mended, and a critic that is a model"
            )
