"""What learns: other methods, found by their names as the command line finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from align_plugins.settings import TrainSettings, resume_settings
from align_plugins.trainer import Trained, Trainer
from align_plugins.training.environment import check_environment
from eval_anything import plugins
from eval_anything.errors import UserError, near
from eval_anything.output.progress import Progress


class MethodRunner:
    """A method with settings of its own (`group`, as the user wrote them) and some that are set here.
    `here` has a value for each of those that the method needs beside model, data and folder."""

    def __init__(
        self, method: str, group: Mapping[str, Any], where: str, fixed: Mapping[str, Any] = {}
    ) -> None:
        self._type: type[Trainer[Any]] = plugins.load(plugins.TRAINERS, method)
        self._group = dict(group)
        self._where = where
        fixed_keys = {"model", "data", "out", "evaluate", "allow_contamination", *fixed}
        allowed_keys = [
            name for name in self._type.settings_type.__struct_fields__ if name not in fixed_keys
        ]
        for key in group:
            if key not in allowed_keys:
                raise UserError(f"{where}.{key}: unknown key.{near(key, allowed_keys)}")
        # What is wrong is said before anything runs.
        check_environment(self.settings(model="micro", data="data", out="out", **fixed), f"{where}.")

    def settings(self, **overrides: Any) -> TrainSettings:
        """The settings, with `more` for what is set here."""
        keys = {**overrides, **self._group}
        if keys.get("evaluate") is not None:
            keys["evaluate"] = msgspec.to_builtins(keys["evaluate"])
        kind: Any = self._type.settings_type
        try:
            settings: TrainSettings = msgspec.convert(keys, kind)
        except msgspec.ValidationError as error:
            raise UserError(f"{self._where}: {error}") from None
        return settings

    def train(self, settings: TrainSettings, progress: Progress) -> Trained:
        """Trains, or goes on with what is there."""
        return self._type(settings).train(progress)


def stage_inputs(settings: TrainSettings, data_hash: str, weights: str) -> dict[str, Any]:
    """What decides the weights that come out; paths are left out, what is at them counts."""
    settings_by_name = {k: v for k, v in resume_settings(settings).items() if k not in ("data", "model")}
    return {**settings_by_name, "data": data_hash, "weights": weights}
