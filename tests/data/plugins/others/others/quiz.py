"""`--tasks quiz/NAME`: questions with one right answer, asked and scored here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from eval_anything.content import Contract, Message, Modality, Record, Sample, Score, TextPart
from eval_anything.errors import UserError
from eval_anything.evaluation.external import ExternalTasks, ListedTask, SourceRequest, TaskSource
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import Run, read_run
from eval_anything.runs.results_file import AggregateResult, MetricResult, TaskResult
from eval_anything.tasks.task import Task, TaskFile, TaskFolder

QUIZZES = {"echo": ["yes", "no", "perhaps"], "longer": ["one", "two"]}


def _task(name: str) -> Task:
    folder = Path(__file__).parent
    file = TaskFile(
        version=1,
        title=name,
        description="Say it again.",
        licence="CC0-1.0",
        inputs=[Modality.TEXT],
        outputs=[Modality.TEXT],
        primary="right",
    )
    samples = [
        Sample(
            id=f"q{number}",
            messages=(Message("user", (TextPart(word),)),),
            contract=Contract(required=(Modality.TEXT,)),
            targets={"answer": word},
            source_id=f"q{number}",
        )
        for number, word in enumerate(QUIZZES[name])
    ]
    return Task(TaskFolder(f"quiz/{name}", folder, trusted=True), file, tuple(samples), None)


class QuizTasks(ExternalTasks):
    source = "quiz"
    packages = ("others",)

    def __init__(self, names: Sequence[str], held: Sequence[str], bonus: float) -> None:
        self.tasks = {f"quiz/{name}": _task(name) for name in dict.fromkeys([*names, *held])}
        self.chosen = tuple(f"quiz/{name}" for name in names)
        self._bonus = bonus

    def pending(self, counts: Mapping[str, int], run: Path) -> list[str]:
        return [name for name in self.tasks if len(read_run(run, name)) < counts[name]]

    def run(
        self,
        names: Sequence[str],
        counts: Mapping[str, int],
        model: Model,
        seed: int,
        run: Run,
        progress: Progress,
    ) -> None:
        for name in names:
            task = self.tasks[name]
            samples = task.samples[: counts[name]]
            requests = [
                Request(name, sample.id, 0, sample.messages, Sampling(seed=seed)) for sample in samples
            ]
            responses = asyncio.run(model.generate(requests, run.store))
            for sample, response in zip(samples, responses, strict=True):
                right = float(response.text == sample.targets["answer"])
                record = Record(
                    sample_id=sample.id,
                    repeat=0,
                    item=task.item(sample),
                    source_id=sample.source_id,
                    parts=response.parts,
                    order_known=True,
                    stop_reason=None,
                    scores={"right": Score(right + self._bonus, range=(0, 2))},
                    error=None,
                    usage=response.usage,
                    latency=response.latency,
                )
                run.append(name, record)

    def results(self, run: Path) -> dict[str, TaskResult]:
        results = {}
        for name in self.tasks:
            values = [float(record.scores["right"].value or 0) for record in read_run(run, name)]
            metric = MetricResult(
                value=sum(values) / len(values),
                stderr=None,
                ci95=(0.0, 2.0),
                n=len(values),
                failed=0,
                unscored=0,
                better="higher",
                range=(0.0, 2.0),
            )
            results[name] = TaskResult(
                primary="right", metrics={"right": metric}, samples=len(values), failed=0
            )
        return results

    def aggregates(self, run: Path) -> dict[str, AggregateResult]:
        values = [result.main.value or 0 for result in self.results(run).values()]
        return {"quiz/all": AggregateResult(value=sum(values) / len(values), ci95=(0.0, 2.0))}


class QuizSource(TaskSource):
    """Two quizzes. The option `bonus` is added to every score."""

    title: ClassVar[str] = "the quiz"

    def holds_tasks(self, folder: Path) -> bool:
        return (folder / "quiz.txt").is_file()

    def entries(self, include: Sequence[Path]) -> Iterable[ListedTask]:
        return [self.find(name, include) for name in QUIZZES]

    def find(self, name: str, include: Sequence[Path]) -> ListedTask:
        if name not in QUIZZES:
            raise UserError(f"there is no quiz {name!r}")
        return ListedTask(name, "task", (Path(__file__),))

    def plan(self, request: SourceRequest) -> ExternalTasks:
        for name in request.names:
            self.find(name, request.include)
        return QuizTasks(request.names, request.held, float(request.options.get("bonus", 0)))
