"""`feedback`: the stages in their order, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from align_plugins.data.contamination import Known, known_prompts, refuse_contaminated
from align_plugins.data.files import file_hash, read_rows, write_rows
from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, R, rows_of
from align_plugins.evaluation.checkpoints import check_evaluation
from align_plugins.evaluation.collect import judge_of
from align_plugins.evaluation.report import account_of
from align_plugins.methods.feedback.filters import ByCritic, ByJudge, Unfiltered
from align_plugins.methods.feedback.roles import Critique, JudgeCritic, ModelCritic, Speaker, asking
from align_plugins.methods.feedback.run_method import Learner, final_of, lasting_inputs
from align_plugins.methods.feedback.settings import FeedbackSettings
from align_plugins.methods.feedback.stages import Counts, Stages
from align_plugins.methods.feedback.steps import (
    Better,
    critique_stage,
    pair_stage,
    refine_stage,
    sample_stage,
    says_the_same,
    to_mend,
)
from align_plugins.settings import MethodSettings
from align_plugins.trainer import Trained, Trainer
from align_plugins.workdir import hold_folder
from eval_anything.content import TextPart
from eval_anything.errors import UserError
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.models.spec import resolve
from eval_anything.output.progress import Progress


class FeedbackTrainer(Trainer[FeedbackSettings]):
    """Language feedback becomes preference pairs, from which another method learns."""

    name: ClassVar[str] = "feedback"
    settings_type: ClassVar[type[MethodSettings]] = FeedbackSettings

    def __init__(self, settings: FeedbackSettings) -> None:
        super().__init__(settings)
        self._out = Path(settings.out)
        critic, then = settings.critic, settings.then
        self._sft = Learner("sft", critic.training, "critic.training") if critic.data else None
        self._dpo = Learner("dpo", settings.dpo, "dpo") if then == "dpo" else None
        self._reward = Learner("reward", settings.reward, "reward") if then == "ppo" else None
        rewards = {"rewards": [{"checkpoint": "reward"}]}
        self._ppo = Learner("ppo", settings.ppo, "ppo", rewards) if then == "ppo" else None

    def train(self, progress: Progress) -> Trained:
        settings = self.settings
        if settings.threads is not None:
            import torch

            torch.set_num_threads(settings.threads)
        if settings.evaluate is not None:
            check_evaluation(settings.evaluate, settings.model, self._out / "runs")
        with hold_folder(self._out, self._out):
            found = self._run(progress)
            write_atomically(self._out / "result.json", pretty_json(found))
        return account_of(found)

    def _run(self, progress: Progress) -> dict[str, Any]:
        begun = time.monotonic()
        folder = self.settings.stages
        stages = Stages(Path(folder) if folder is not None else self._out / "stages", progress)
        known = None if self.settings.allow_contamination else known_prompts()
        warnings: list[str] = []
        pairs = self._pairs(stages, known, warnings, progress)
        for line in warnings:
            progress.say(line)
        lines = [*(made.told for made in stages.made), *warnings]
        more: dict[str, Any] = {
            "stages": [
                {"name": made.name, "rows": len(made.rows), "file": str(made.path), **made.note}
                for made in stages.made
            ],
            "pairs": len(pairs),
            "lines": lines,
        }
        learned = self._learned(stages, pairs, progress)
        more["lines"] = [*lines, *learned.get("lines", ())]
        return {
            "step": 0,
            "tokens": 0,
            "final": str(stages.made[-1].path),
            **learned,
            **more,
            "method": self.name,
            "out": str(self._out.resolve()),
            "seconds": round(time.monotonic() - begun, 3),
        }

    # --- pairs ---------------------------------------------------------------------------------

    def _pairs(
        self, stages: Stages, known: Known | None, warnings: list[str], progress: Progress
    ) -> list[Preference]:
        """All stages up to the pairs. UserError tells the counts if none are left."""
        settings = self.settings
        given = settings.given
        if given.pairs is not None:
            return self._given_pairs(stages, given.pairs, known)
        critique = self._critique(stages, known, progress)
        first: Sequence[Demonstration | Feedback]
        if given.refined is not None:
            refined, after = self._read(given.refined, Feedback, known)
            refined = [row for row in refined if row.refined is not None]
        else:
            if given.critiques is not None:
                criticised, after = self._read(given.critiques, Feedback, known)
                first = to_mend(criticised, settings.critic)
            else:
                responses, after = self._responses(stages, known, progress)
                first = responses
                if critique is not None:
                    criticised = critique_stage(stages, responses, after, critique)
                    warning = says_the_same(stages.made[-1].note, criticised)
                    warnings += [warning] if warning is not None else []
                    first, after = to_mend(criticised, settings.critic), stages.made[-1].key
            refine = settings.refine
            spec = refine.model or settings.model
            refiner = Speaker(spec, refine.model_args, refine.temperature, settings.seed, progress)
            refined = refine_stage(stages, first, after, refiner, settings)
            after = stages.made[-1].key
        better = self._better(stages, critique, after, progress)
        pairs = pair_stage(stages, refined, after, better, settings.most)
        if not pairs:
            told = "; ".join(made.told for made in stages.made)
            raise UserError(f"no pairs are left to learn from: {told}")
        return pairs

    def _given_pairs(self, stages: Stages, name: str, known: Known | None) -> list[Preference]:
        """Pairs that the user has, as the last stage."""
        rows, key = self._read(name, Preference, known)
        most = self.settings.most

        def make(folder: Path) -> tuple[list[Preference], Counts]:
            kept = [
                msgspec.structs.replace(
                    row,
                    messages=stages.prompt(row.messages),
                    chosen=stages.at_home(row.chosen),
                    rejected=stages.at_home(row.rejected),
                )
                for row in rows[:most]
            ]
            return kept, {"given": len(rows)}

        return stages.rows("pairs", {"given": key, "most": most}, Preference, make)

    def _responses(
        self, stages: Stages, known: Known | None, progress: Progress
    ) -> tuple[list[Demonstration], str]:
        settings = self.settings
        if settings.given.responses is not None:
            return self._read(settings.given.responses, Demonstration, known)
        prompts: list[Prompt] = []
        several = len(settings.files) > 1
        for number, path in enumerate(settings.files, start=1):
            read = read_rows(path)
            if known is not None:
                refuse_contaminated(path, read, known)
            prompts += [
                Prompt(
                    id=f"{number}:{row.id}" if several else row.id,
                    messages=row.messages,
                    source_id=row.source_id,
                )
                for row in read
            ]
        sample = settings.sample
        start = Speaker(settings.model, sample.model_args, sample.temperature, settings.seed, progress)
        rows = sample_stage(stages, prompts, file_hash(settings.files), start)
        return rows, stages.made[-1].key

    def _read(self, name: str, kind: type[R], known: Known | None) -> tuple[list[R], str]:
        """A stage that the user gives, and its hash."""
        path = Path(name)
        rows = rows_of(read_rows(path), kind, path, "this stage")
        if known is not None:
            refuse_contaminated(path, rows, known)
        return rows, file_hash([path])

    def _critique(self, stages: Stages, known: Known | None, progress: Progress) -> Critique | None:
        """The critic, trained if it is to learn; None if nobody asks one."""
        settings = self.settings
        critic = settings.critic
        if settings.critique == "none" and settings.filter.judge != "critic":
            return None
        if settings.given.refined is not None and settings.filter.judge != "critic":
            return None
        if critic.judge is not None:
            return JudgeCritic(judge_of(critic.judge, settings.include, settings.allow_code), progress)
        spec = critic.model or settings.model
        if self._sft is not None:
            spec = str(self._trained_critic(stages, spec, known, progress))
        speaker = Speaker(spec, critic.model_args, critic.temperature, settings.seed, progress)
        return ModelCritic(speaker, critic.ask)

    def _trained_critic(
        self, stages: Stages, spec: str, known: Known | None, progress: Progress
    ) -> Path:
        settings = self.settings
        critic = settings.critic
        assert critic.data is not None
        assert self._sft is not None
        paths = [Path(critic.data)] if isinstance(critic.data, str) else list(map(Path, critic.data))

        def make(folder: Path) -> tuple[list[Demonstration], Counts]:
            rows: list[Demonstration] = []
            for number, path in enumerate(paths):
                read = rows_of(read_rows(path), Feedback, path, "a critic")
                if known is not None:
                    refuse_contaminated(path, read, known)
                rows += [
                    Demonstration(
                        id=f"{number}:{row.id}",
                        messages=stages.prompt(asking(row.messages, row.response, critic.ask)),
                        source_id=row.source_id,
                        response=(TextPart(row.critique),),
                    )
                    for row in read
                    if row.critique
                ]
            if not rows:
                raise UserError(f"critic.data: no row of {', '.join(map(str, paths))} has a critique")
            return rows, {}

        inputs = {"data": file_hash(paths), "ask": critic.ask}
        stages.rows("critic_rows", inputs, Demonstration, make)
        made = stages.made[-1]
        learned = self._sft.settings(
            model=spec,
            data=str(made.path),
            allow_contamination=True,  # prompts were looked at above, before the question joined them
            **self._shared(),
        )
        weights = resolve(spec, {}).weights()
        folder = stages.folder("critic", lasting_inputs(learned, made.key, weights))
        self._sft.train(msgspec.structs.replace(learned, out=str(folder)), progress)
        return final_of(folder)

    def _better(
        self, stages: Stages, critique: Critique | None, after: str, progress: Progress
    ) -> Better:
        settings = self.settings
        judge = settings.filter.judge
        if judge is None:
            return Unfiltered()
        if judge == "critic":
            assert critique is not None
            return ByCritic(stages, critique, settings.critic, after)
        scorer = judge_of(judge, settings.include, settings.allow_code)
        metric = settings.filter.metric
        if metric is not None and metric not in scorer.metrics:
            raise UserError(
                f"filter.metric: {scorer.name} has no {metric!r}, but {', '.join(scorer.metrics)}"
            )
        return ByJudge(scorer, metric, settings.filter.least, progress)

    # --- learning ------------------------------------------------------------------------------

    def _learned(
        self, stages: Stages, pairs: Sequence[Preference], progress: Progress
    ) -> dict[str, Any]:
        """What a method learned from the pairs, as its own result; empty if none is to."""
        settings = self.settings
        if settings.then == "pairs":
            return {}
        made = stages.made[-1]
        weights = resolve(settings.model, {}).weights()
        shared = {
            **self._shared(),
            "model": settings.model,
            "allow_contamination": settings.allow_contamination,
        }
        if self._dpo is not None:
            learner, more = self._dpo, dict[str, Any](data=str(made.path))
        else:
            assert self._reward is not None
            assert self._ppo is not None
            reward = self._reward.settings(**shared, data=str(made.path))
            where = stages.folder("reward", lasting_inputs(reward, made.key, weights))
            self._reward.train(msgspec.structs.replace(reward, out=str(where)), progress)
            prompts = self._prompts_of(stages, pairs)
            learner, more = (
                self._ppo,
                dict[str, Any](data=prompts, rewards=[{"checkpoint": str(final_of(where))}]),
            )
        chosen = learner.settings(**shared, **more, evaluate=settings.evaluate)
        where = stages.folder(settings.then, lasting_inputs(chosen, made.key, weights))
        trained = learner.train(msgspec.structs.replace(chosen, out=str(where)), progress)
        _link(self._out / "final", Path(trained.json["final"]))
        return {**trained.json, "final": str(self._out.resolve() / "final")}

    def _prompts_of(self, stages: Stages, pairs: Sequence[Preference]) -> str | list[str]:
        """The prompts that the policy answers while it is rewarded: those of `data`, or of the pairs."""
        if self.settings.files:
            return self.settings.data
        path = stages.root / f"prompts-{stages.made[-1].key}.jsonl"
        write_rows(path, [Prompt(id=p.id, messages=p.messages, source_id=p.source_id) for p in pairs])
        return str(path)

    def _shared(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "seed": settings.seed,
            "device": settings.device,
            "threads": settings.threads,
            "out": settings.out,
        }


def _link(link: Path, target: Path) -> None:
    """Makes `link` lead to a folder, in place of what it led to."""
    temporary = link.with_name(f".{link.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.resolve())
    temporary.replace(link)
