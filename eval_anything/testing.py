"""A check for tests of your own models: `check_model` asks a model as a run would, and names the promise
of `eval_anything.Model` that it breaks.

    from eval_anything.testing import check_model

    def test_parrot():
        check_model("parrot")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import msgspec

from eval_anything.content import Modality, Response
from eval_anything.errors import UserError
from eval_anything.evaluation.api import plain_options
from eval_anything.evaluation.batches import request_of
from eval_anything.evaluation.options import make_options
from eval_anything.evaluation.pipeline import answers_of
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, Sampling, TextModel
from eval_anything.models.checked import checked
from eval_anything.models.spec import resolve
from eval_anything.models.turns import converse

_Key = tuple[str, str, int]
T = TypeVar("T")


def check_model(
    model: str | Callable[[], Model], samples: int = 4, repeatable: bool = True, **options: Any
) -> list[Response]:
    """Checks a model on the first samples of tasks.

    It has a name, and the same `weights()` each time it is made; each request gets one response, whose
    media can be read; one sample at least is answered. If it is `repeatable`, the answers depend on the
    request and its seed alone, greedy and sampled: a new instance that is asked one by one, in another
    order, gives the same. A SPEC also refuses an unknown `--model-arg`.

    Args:
        model: a SPEC as on the command line, or a function that makes the model, such as its class.
        samples: number of samples of each task.
        repeatable: False for a model, such as one on a server, that may answer differently each time.
        options: the fields of `eval_anything.Options`. Without `tasks`, a small bundled task is taken.

    Returns:
        The greedy answers, in the order of the samples.

    Raises:
        AssertionError: names the promise that is broken.
        EvalError: the model cannot be asked at all, as in a run.

    Example:
        >>> from eval_anything import TextPart
        >>> class Blue(Model):
        ...     name = "blue"
        ...
        ...     def weights(self):
        ...         return "1"
        ...
        ...     async def generate(self, requests, store):
        ...         return [Response((TextPart("blue"),)) for _ in requests]
        >>> [response.text for response in check_model(Blue, samples=2)]
        ['blue', 'blue']
    """
    arguments = options.pop("model_args", {})
    make = model if callable(model) else lambda: resolve(model, dict(arguments))
    if isinstance(model, str):
        _check_refusal(model)
    values = {"tasks": "selection", **options, "model": "an object", "first": samples}
    with TemporaryDirectory(prefix="eval-anything-") as folder:
        asking = _Asking(make, values, Path(folder))
        greedy = asking.answers(temperature=0.0)
        _check_answers(greedy)
        if repeatable:
            _check_same(greedy, asking.answers(temperature=0.0, alone=True), "at temperature 0")
            sampled = asking.answers(temperature=1.0)
            _check_same(sampled, asking.answers(temperature=1.0, alone=True), "at temperature 1")
    return list(greedy.values())


class _Asking(NamedTuple):
    """A function that makes the model, the options of a run, and a folder for its media."""

    make: Callable[[], Model]
    options: dict[str, Any]
    folder: Path

    def answers(self, temperature: float, alone: bool = False) -> dict[_Key, Response]:
        """Answers of a new instance; `alone`: each request by itself, the last one first."""
        model = self.make()
        _check_facts(model, self.make())
        options = make_options(plain_options({**self.options, "out": self.folder / "run"}))
        plan = make_plan(options, model)
        size = 1 if alone else model.batch_size
        sampling = Sampling(temperature, options.seed)
        requests = [
            request_of(plan.tasks[name], sample, 0, sampling)
            for name, chosen in plan.samples.items()
            for sample in chosen
        ]
        model.load()
        store = MediaStore(self.folder / "media")
        batches = _cut(requests[::-1] if alone else requests, size)
        answers = asyncio.run(_ask(model, batches, plan, store))
        return {request.key: answers[request.key] for request in requests}


async def _ask(
    model: Model, batches: Sequence[Sequence[Request]], plan: RunPlan, store: MediaStore
) -> dict[_Key, Response]:
    """Answers by the key of the request; as many batches at once as the model takes."""

    async def answers(requests: list[Request]) -> list[Response]:
        try:
            return await answers_of(model, requests, store)
        except UserError as error:
            raise AssertionError(str(error)) from error

    try:
        answered: dict[_Key, Response] = {}
        for group in _cut(batches, model.concurrency):
            samples = {
                (r.task, r.sample_id): plan.tasks[r.task].by_id[r.sample_id] for b in group for r in b
            }
            conversations = await asyncio.gather(
                *(converse(b, samples, answers, checked) for b in group)
            )
            answered |= {
                request.key: checked(response) for c in conversations for request, response in c
            }
        return answered
    finally:
        await model.close()


def _cut(sequence: Sequence[T], size: int) -> list[Sequence[T]]:
    """The sequence in pieces of at most that size."""
    return [sequence[start : start + size] for start in range(0, len(sequence), size)]


def _check_refusal(spec: str) -> None:
    try:
        resolve(spec, {"no_such_argument": "1"})
    except UserError:
        return
    raise AssertionError(f"{spec} takes an unknown argument: from_spec must raise UserError for one")


def _check_facts(model: Model, twin: Model) -> None:
    """AssertionError for attributes of a wrong type, and for weights that are not a function of the
    model's files."""
    cls = type(model).__name__
    assert isinstance(model, Model), f"{cls} does not derive from eval_anything.Model"
    assert isinstance(model.name, str), f"{cls}.name must be a text, not {model.name!r}"
    assert model.name, f"{cls}.name is empty"
    weights = model.weights()
    assert isinstance(weights, str), f"{cls}.weights() must be a text, not {weights!r}"
    assert weights, f"{cls}.weights() is empty: return a hash of all that decides the answers"
    assert weights == twin.weights(), f"{cls}.weights() differs between two instances: no run resumes"
    for name in ("batch_size", "concurrency"):
        number = getattr(model, name)
        assert isinstance(number, int), f"{cls}.{name} must be a whole number, not {number!r}"
        assert number >= 1, f"{cls}.{name} must be at least 1, not {number}"
    inputs = model.inputs
    assert inputs is None or set(inputs) <= set(Modality), f"{cls}.inputs: {inputs!r}"
    msgspec.json.encode(model.arguments)  # recorded in run.json
    text = model.text()
    assert text is None or isinstance(text, TextModel), f"{cls}.text() must be a TextModel or None"


def _check_answers(answers: dict[_Key, Response]) -> None:
    """AssertionError for media that cannot be read, and if nothing is answered."""
    errors = [response.error for response in answers.values() if response.error is not None]
    broken = [error.message for error in errors if error.kind == "invalid_output"]
    assert not broken, f"an answer has a medium that cannot be read: {broken[0]}"
    assert len(errors) < len(answers), f"no sample is answered. The first: {errors[0].message}"


def _check_same(together: dict[_Key, Response], alone: dict[_Key, Response], setting: str) -> None:
    """AssertionError for an answer that depends on more than its request and the request's seed."""
    for key, response in together.items():
        if _content(response) != _content(alone[key]):
            raise AssertionError(
                f"the answer to {key[0]}, sample {key[1]}, {setting}, depends on its batch or on "
                f"earlier requests: {response.text[:60]!r} and {alone[key].text[:60]!r}. Draw random "
                "numbers from request.seed, or check with repeatable=False"
            )


def _content(response: Response) -> tuple[Collection[str], str | None]:
    return [part.key for part in response.parts], response.error.kind if response.error else None
