"""Settings of generation, in one record for all who have them: the command line, files of options,
presets, task.yaml, checkpoints and trainings. A setting that is None is not set: another source decides
about it, and in the end the engine of the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

RESTRICTIONS = ("top_p", "top_k", "min_p")
"""Settings that leave out unlikely tokens, and so do nothing to a greedy answer."""


PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
"""Settings that change the scores of tokens which came before."""


DECISIVE = ("temperature", *RESTRICTIONS, *PENALTIES, "stop", "system")
"""Settings with which numbers are compared only if they are equal. The others are, like arguments of a
model, what two models may differ in: `max_new_tokens`, `chat_template_kwargs`, `reasoning_effort` and
`extra_body`."""


def _setting(metavar: str, description: str, **extra: Any) -> Meta:
    extra = {"metavar": metavar, "run": True, "group": "generation", **extra}
    return Meta(description=description, extra=extra)


class GenerationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of generation of one source. ValueError for those that contradict each other.

    Attributes:
        temperature: 0 is greedy.
        top_p: the likeliest tokens that have this probability together; 1 is all.
        top_k: so many of the likeliest tokens; 0 is all.
        min_p: tokens with this share of the likeliest one's probability; 0 is all.
        repetition_penalty: above 1, tokens of prompt and answer become less likely (arXiv 1909.05858).
        presence_penalty: taken from the scores of tokens that the answer has.
        frequency_penalty: the same, for each time that it has them.
        stop: texts before which the answer ends; not in thoughts.
        max_new_tokens: longest answer, in tokens.
        system: a system prompt in front of the messages, as text; empty for none.
        chat_template_kwargs: variables of the chat template, such as `enable_thinking`.
        reasoning_effort: how much the model thinks: low, medium, high ...
        extra_body: further fields of requests to a server.
    """

    temperature: Annotated[
        Annotated[float, Meta(ge=0)] | None, _setting("T", "sampling temperature; 0 is greedy (0)")
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        _setting("P", "sample from the likeliest tokens of this probability; 1 is all"),
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        _setting("K", "sample from so many of the likeliest tokens; 0 is all"),
    ] = None
    min_p: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        _setting("P", "sample from tokens with this share of the likeliest one's probability; 0 is all"),
    ] = None
    repetition_penalty: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        _setting("X", "above 1, tokens that came before are less likely; 1 is none"),
    ] = None
    presence_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None,
        _setting("X", "taken from the scores of tokens that the answer has, -2 to 2"),
    ] = None
    frequency_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None,
        _setting("X", "the same, for each time that it has them, -2 to 2"),
    ] = None
    stop: Annotated[
        Sequence[str] | None, _setting("TEXT", "end answers before this text (may be repeated)")
    ] = None
    max_new_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None, _setting("N", "longest answer, in tokens")
    ] = None
    system: Annotated[
        str | None, _setting("TEXT|FILE", "a system prompt in front of the messages", text_or_path=True)
    ] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None,
        _setting("K=V", "a variable of the chat template, such as enable_thinking=false", json=True),
    ] = None
    reasoning_effort: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _setting("WORD", "how much the model thinks: low, medium, high ..."),
    ] = None
    extra_body: Annotated[
        dict[str, Any] | None, _setting("K=V", "a further field of requests to a server", json=True)
    ] = None

    def __post_init__(self) -> None:
        for name, setting in self.values().items():
            if isinstance(setting, float) and not math.isfinite(setting):
                raise ValueError(f"{name} must be a finite number, not {setting}")
        if self.stop is not None and not all(self.stop):
            raise ValueError("stop has an empty text, before which every answer would end")
        idle = self.idle()
        if self.temperature == 0 and idle:
            raise ValueError(contradiction(idle))

    def values(self) -> dict[str, Any]:
        """The settings that are set, by name.

        Example:
            >>> GenerationSettings(top_k=20, stop=["END"]).values()
            {'top_k': 20, 'stop': ['END']}
        """
        by_name = {name: getattr(self, name) for name in GenerationSettings.__struct_fields__}
        return {name: setting for name, setting in by_name.items() if setting is not None}

    def idle(self) -> dict[str, float]:
        """Restrictions that would do nothing at temperature 0, and something above it."""
        settings = {name: getattr(self, name) for name in RESTRICTIONS}
        all_tokens = {"top_p": 1, "top_k": 0, "min_p": 0}
        return {n: s for n, s in settings.items() if s is not None and s != all_tokens[n]}


def contradiction(idle: Mapping[str, float]) -> str:
    """A sentence on restrictions beside a temperature of 0."""
    listed = " and ".join(f"{name} {setting:g}" for name, setting in idle.items())
    return (
        f"temperature 0 takes the likeliest token, and {listed} would do nothing: leave that out, or "
        "set a temperature above 0"
    )


class Sampling(GenerationSettings, frozen=True):
    """The settings of one request: what is None is left to the engine.

    Attributes:
        temperature: 0 is greedy.
        seed: of the whole run.

    Example:
        >>> Sampling(0.7, seed=1, top_p=0.9).recorded()
        {'temperature': 0.7, 'top_p': 0.9}
    """

    temperature: float = 0.0
    seed: int = 0

    def recorded(self) -> dict[str, Any]:
        """The settings that are set, for run.json, in types of JSON; the seed has a key of its own."""
        by_name: dict[str, Any] = msgspec.to_builtins(self.values())
        if not self.system:
            by_name.pop("system", None)
        return {"temperature": self.temperature, **by_name}

    def decisive(self) -> dict[str, Any]:
        """Those of `recorded` that decide whether numbers can be compared."""
        return {name: setting for name, setting in self.recorded().items() if name in DECISIVE}

    @property
    def kind(self) -> str:
        """A text that is equal for settings with which prompts may share a batch."""
        return msgspec.json.encode(self.recorded()).decode()


def merged(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, tuple[Any, str]]:
    """Each setting with the name of the layer that it is from: the first layer that has it. Mappings
    are joined key by key, and have the name of the first.

    Example:
        >>> merged([("flags", {"top_k": 5}), ("preset", {"top_k": 20, "top_p": 0.9})])
        {'top_k': (5, 'flags'), 'top_p': (0.9, 'preset')}
    """
    settings: dict[str, tuple[Any, str]] = {}
    for label, layer in layers:
        for name, setting in layer.items():
            if name not in settings:
                settings[name] = setting, label
            elif isinstance(setting, Mapping):
                first, first_label = settings[name]
                settings[name] = {**setting, **first}, first_label
    return settings
