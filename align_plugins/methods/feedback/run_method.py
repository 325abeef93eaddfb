"""Runs other training methods as stages; they are found by name, as on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from align_plugins.old_names import rename_keys
from align_plugins.settings import TrainSettings, renamed_settings, resume_settings
from align_plugins.trainer import Trained, Trainer
from align_plugins.training.environment import check_environment
from eval_anything import plugins
from eval_anything.errors import UserError, near
from eval_anything.output.progress import Progress


class MethodRunner:
    """A training method with settings of a group of the user's file, and settings that are
    fixed here."""

    def __init__(
        self, method: str, group: Mapping[str, Any], where: str, fixed: Mapping[str, Any] = {}
    ) -> None:
        """Checks the settings. UserError names what is wrong with them.

        Args:
            method: name of the training method.
            group: its settings, as the user wrote them.
            where: name of the group, for messages.
            fixed: settings that the group must not have, beside model, data and folder, with a value to
                check the others with.
        """
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
        # Mistakes are reported before anything runs.
        check_environment(self.settings(model="micro", data="data", out="out", **fixed), f"{where}.")

    def settings(self, **overrides: Any) -> TrainSettings:
        """The settings, with `overrides` for those that are fixed here. UserError if they are wrong."""
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
        """Trains, or resumes the training in its folder."""
        return self._type(settings).train(progress)


def stage_inputs(settings: TrainSettings, data_hash: str, weights: str) -> dict[str, Any]:
    """Everything that decides the trained weights, for the hash of a stage. Hashes of files stand for
    their paths. Settings have their oldest names, so that older stages are found again."""
    oldest_names = {name: old for old, name in renamed_settings(type(settings)).items()}
    inputs = rename_keys(resume_settings(settings), oldest_names)
    del inputs["model"]
    return {**inputs, "data": data_hash, "weights": weights}
