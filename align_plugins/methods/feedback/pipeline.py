"""`feedback`: the trainer, which runs the stages in order and reports their outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from align_plugins.data.contamination import BenchmarkPrompts, benchmark_prompts, read_clean_rows
from align_plugins.data.files import file_hash, write_rows
from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, R, row_like
from align_plugins.evaluation.checkpoints import check_evaluation
from align_plugins.evaluation.collect import judge_of
from align_plugins.evaluation.report import training_report
from align_plugins.methods.feedback.filters import CriticFilter, JudgeFilter, NoFilter
from align_plugins.methods.feedback.roles import (
    CritiqueSource,
    JudgeCritic,
    ModelCritic,
    ResponseSampler,
    critique_conversation,
)
from align_plugins.methods.feedback.run_method import MethodRunner, stage_inputs
from align_plugins.methods.feedback.settings import Critic, FeedbackSettings, FirstResponses, Refining
from align_plugins.methods.feedback.stages import Counts, Stages
from align_plugins.methods.feedback.steps import (
    PairFilter,
    critique_stage,
    pair_stage,
    refine_stage,
    sameness_warning,
    sample_stage,
    to_refine,
)
from align_plugins.settings import MethodSettings
from align_plugins.trainer import Trained, Trainer
from align_plugins.workdir import hold_folder
from eval_anything.content import TextPart
from eval_anything.errors import UserError
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.models.base import Sampling
from eval_anything.models.spec import resolve
from eval_anything.output.progress import Progress


class FeedbackTrainer(Trainer[FeedbackSettings]):
    """Makes preference pairs of language feedback, from which another method learns."""

    name: ClassVar[str] = "feedback"
    settings_type: ClassVar[type[MethodSettings]] = FeedbackSettings
    _stages: Stages
    _benchmarks: BenchmarkPrompts | None
    _progress: Progress

    def __init__(self, settings: FeedbackSettings) -> None:
        super().__init__(settings)
        self._out = Path(settings.out)
        critic, then = settings.critic, settings.then
        self._sft = MethodRunner("sft", critic.training, "critic.training") if critic.data else None
        self._dpo = MethodRunner("dpo", settings.dpo, "dpo") if then == "dpo" else None
        self._reward = MethodRunner("reward", settings.reward, "reward") if then == "ppo" else None
        rewards = {"rewards": [{"checkpoint": "reward"}]}
        self._ppo = MethodRunner("ppo", settings.ppo, "ppo", rewards) if then == "ppo" else None

    def train(self, progress: Progress) -> Trained:
        settings = self.settings
        if settings.threads is not None:
            import torch

            torch.set_num_threads(settings.threads)
        if settings.evaluate is not None:
            check_evaluation(settings.evaluate, settings.model, self._out / "runs")
        with hold_folder(self._out, self._out):
            summary = self._run(progress)
            write_atomically(self._out / "result.json", pretty_json(summary))
        return training_report(summary)

    def _run(self, progress: Progress) -> dict[str, Any]:
        begun = time.monotonic()
        folder = self.settings.stages
        stages = Stages(Path(folder) if folder is not None else self._out / "stages", progress)
        self._stages = stages
        self._benchmarks = None if self.settings.allow_contamination else benchmark_prompts()
        self._progress = progress
        warnings: list[str] = []
        pairs = self._pairs(warnings)
        for line in warnings:
            progress.say(line)
        lines = [*(stage.line for stage in stages.made), *warnings]
        learned = self._learned(pairs)
        return {
            "step": 0,
            "tokens": 0,
            "final": str(stages.made[-1].path),
            **learned,
            "stages": [
                {"name": stage.name, "rows": len(stage.rows), "file": str(stage.path), **stage.note}
                for stage in stages.made
            ],
            "pairs": len(pairs),
            "lines": [*lines, *learned.get("lines", ())],
            "method": self.name,
            "out": str(self._out.resolve()),
            "seconds": round(time.monotonic() - begun, 3),
        }

    # --- pairs ---------------------------------------------------------------------------------

    def _pairs(self, warnings: list[str]) -> list[Preference]:
        """Runs all stages up to the pairs. UserError with the counts if none are left."""
        settings, stages = self.settings, self._stages
        provided = settings.given
        if provided.pairs is not None:
            return self._given_pairs(provided.pairs)
        critique = self._critique()
        first: Sequence[Demonstration | Feedback]
        if provided.refined is not None:
            refined, after = self._read(provided.refined, Feedback)
            refined = [row for row in refined if row.refined is not None]
        else:
            if provided.critiques is not None:
                criticised, after = self._read(provided.critiques, Feedback)
                first = to_refine(criticised, settings.critic)
            else:
                responses, after = self._responses()
                first = responses
                if critique is not None:
                    criticised = critique_stage(stages, responses, after, critique)
                    warning = sameness_warning(criticised)
                    warnings += [warning] if warning is not None else []
                    first, after = to_refine(criticised, settings.critic), stages.made[-1].key
            refine = settings.refine
            refiner = self._sampler(refine, refine.model or settings.model)
            refined = refine_stage(stages, first, after, refiner, settings)
            after = stages.made[-1].key
        pairs = pair_stage(stages, refined, after, self._pair_filter(critique, after), settings.most)
        if not pairs:
            counts = "; ".join(stage.line for stage in stages.made)
            raise UserError(f"no pairs are left to learn from: {counts}")
        return pairs

    def _given_pairs(self, name: str) -> list[Preference]:
        """Pairs of a file of the user, as the last stage."""
        rows, key = self._read(name, Preference)
        most = self.settings.most

        def make(folder: Path) -> tuple[list[Preference], Counts]:
            return rows[:most], {"given": len(rows)}

        return self._stages.rows("pairs", {"given": key, "most": most}, Preference, make)

    def _responses(self) -> tuple[list[Demonstration], str]:
        settings = self.settings
        if settings.given.responses is not None:
            return self._read(settings.given.responses, Demonstration)
        several = len(settings.files) > 1
        prompts = [
            row_like(row, Prompt, id=f"{number}:{row.id}" if several else row.id)
            for number, path in enumerate(settings.files, start=1)
            for row in read_clean_rows(path, Prompt, self.name, self._benchmarks)
        ]
        start = self._sampler(settings.sample, settings.model)
        rows = sample_stage(self._stages, prompts, file_hash(settings.files), start)
        return rows, self._stages.made[-1].key

    def _read(self, name: str, kind: type[R]) -> tuple[list[R], str]:
        """Rows of a file of the user in place of a stage, and their hash."""
        path = Path(name)
        return read_clean_rows(path, kind, "this stage", self._benchmarks), file_hash([path])

    def _sampler(self, drawing: Critic | FirstResponses | Refining, spec: str) -> ResponseSampler:
        """Sampler for the model of a SPEC, with these sampling settings."""
        values = {**drawing.generation.values(), "temperature": drawing.temperature}
        sampling = Sampling(**values, seed=self.settings.seed)
        return ResponseSampler(spec, drawing.model_args, sampling, self._progress)

    def _critique(self) -> CritiqueSource | None:
        """The critic, trained if the settings say so; None if no critic is needed."""
        settings = self.settings
        critic = settings.critic
        needless = settings.critique == "none" or settings.given.refined is not None
        if needless and settings.filter.judge != "critic":
            return None
        if critic.judge is not None:
            judge = judge_of(critic.judge, settings.include, settings.allow_code)
            return JudgeCritic(judge, self._progress)
        spec = critic.model or settings.model
        if self._sft is not None:
            spec = self._trained_critic(self._sft, spec)
        return ModelCritic(self._sampler(critic, spec), critic.ask)

    def _trained_critic(self, sft: MethodRunner, spec: str) -> str:
        """SPEC of the critic, trained on the rows of `critic.data`."""
        stages, critic = self._stages, self.settings.critic
        assert critic.data is not None
        paths = [Path(critic.data)] if isinstance(critic.data, str) else list(map(Path, critic.data))

        def make(folder: Path) -> tuple[list[Demonstration], Counts]:
            rows = [
                row_like(
                    row,
                    Demonstration,
                    id=f"{number}:{row.id}",
                    messages=critique_conversation(row.messages, row.response, critic.ask),
                    response=(TextPart(row.critique),),
                )
                for number, path in enumerate(paths)
                for row in read_clean_rows(path, Feedback, "a critic", self._benchmarks)
                if row.critique
            ]
            if not rows:
                raise UserError(f"critic.data: no row of {', '.join(map(str, paths))} has a critique")
            return rows, {}

        inputs = {"data": file_hash(paths), "ask": critic.ask}
        stages.rows("critic_rows", inputs, Demonstration, make)
        # Prompts were looked at above, before the question joined them.
        rows_file = str(stages.made[-1].path)
        trained = self._train(sft, "critic", model=spec, data=rows_file, allow_contamination=True)
        return str(trained.json["final"])

    def _pair_filter(self, critique: CritiqueSource | None, after: str) -> PairFilter:
        """The filter that the settings name."""
        settings = self.settings
        judge = settings.filter.judge
        if judge is None:
            return NoFilter()
        if judge == "critic":
            assert critique is not None
            return CriticFilter(self._stages, critique, settings.critic, after)
        scorer = judge_of(judge, settings.include, settings.allow_code)
        metric = settings.filter.metric
        if metric is not None and metric not in scorer.metrics:
            raise UserError(
                f"filter.metric: {scorer.name} has no {metric!r}, but {', '.join(scorer.metrics)}"
            )
        return JudgeFilter(scorer, metric, settings.filter.least, self._progress)

    # --- learning ------------------------------------------------------------------------------

    def _learned(self, pairs: Sequence[Preference]) -> dict[str, Any]:
        """Result of the method that learns from the pairs; empty if none does."""
        settings = self.settings
        pairs_file, evaluate = str(self._stages.made[-1].path), settings.evaluate
        shared = {"model": settings.model, "allow_contamination": settings.allow_contamination}
        if self._dpo is not None:
            trained = self._train(self._dpo, "dpo", **shared, data=pairs_file, evaluate=evaluate)
        elif self._reward is not None and self._ppo is not None:
            reward = self._train(self._reward, "reward", **shared, data=pairs_file)
            rewards = [{"checkpoint": reward.json["final"]}]
            prompts = self._prompts_of(pairs)
            trained = self._train(
                self._ppo, "ppo", **shared, data=prompts, rewards=rewards, evaluate=evaluate
            )
        else:
            return {}
        _link(self._out / "final", Path(trained.json["final"]))
        return {**trained.json, "final": str(self._out.resolve() / "final")}

    def _train(self, runner: MethodRunner, name: str, **overrides: Any) -> Trained:
        """Trains on the output of the last stage, in a folder among the stages."""
        shared = {name: getattr(self.settings, name) for name in ("seed", "device", "threads", "out")}
        settings = runner.settings(**shared, **overrides)
        weights = resolve(settings.model, {}).weights()
        inputs = stage_inputs(settings, self._stages.made[-1].key, weights)
        folder = self._stages.folder(name, inputs)
        return runner.train(msgspec.structs.replace(settings, out=str(folder)), self._progress)

    def _prompts_of(self, pairs: Sequence[Preference]) -> str | list[str]:
        """Files of the prompts for ppo: those of `data`, or else the prompts of the pairs."""
        if self.settings.files:
            return self.settings.data
        stages = self._stages
        path = stages.root / f"prompts-{stages.made[-1].key}.jsonl"
        write_rows(path, [row_like(pair, Prompt) for pair in pairs])
        return str(path)


def _link(link: Path, target: Path) -> None:
    """Makes `link` a symbolic link to a folder, in place of an earlier one."""
    temporary = link.with_name(f".{link.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.resolve())
    temporary.replace(link)
