"""Our models in lm-evaluation-harness find what its own HFLM finds on the same checkpoint."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
import pytest

from eval_anything.lm_eval.export import export
from eval_anything.micro.model.adapter import BUNDLED
from tests.support.lm_eval_tasks import ALL, long_question, question, write_tasks

_BOOTSTRAPS = 100


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are not cached among the user's, and lm_eval does not list the machine (seconds)."""
    import datasets

    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of every kind; one document is longer than 2048 positions."""
    documents = [*map(question, range(9)), long_question(1800)]
    return write_tasks(tmp_path_factory.mktemp("tasks") / "own", documents)


def evaluated(model: Any, include: Path, names: Any, **options: Any) -> dict[str, Any]:
    """What lm_eval finds."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(include), include_defaults=False)
    found: dict[str, Any] = lm_eval.simple_evaluate(
        model=model,
        tasks=list(names),
        task_manager=manager,
        bootstrap_iters=_BOOTSTRAPS,
        **options,
    )
    return found


def theirs(checkpoint: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(checkpoint), dtype="float32", device="cpu", batch_size=1)


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    models: list[Any] = []
    yield models
    for model in models:
        model.close()


def ours(spec: str, closing: list[Any]) -> Any:
    from eval_anything.lm_eval.lm import EvalAnythingLM

    closing.append(EvalAnythingLM(spec))
    return closing[-1]


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Accuracies to the last digit, log-likelihoods to 1e-4, what is made of them likewise."""
    assert one["results"].keys() == other["results"].keys()
    for task, row in one["results"].items():
        for key, value in other["results"][task].items():
            if key.startswith(("acc", "exact_match")):
                assert row[key] == value, (task, key)
            elif isinstance(value, float):
                assert math.isclose(row[key], value, rel_tol=1e-4), (task, key)
        for mine, its in zip(one["samples"][task], other["samples"][task], strict=True):
            assert mine["arguments"] == its["arguments"]
            for a, b in zip(mine["resps"], its["resps"], strict=True):
                if isinstance(a[0], tuple):
                    assert a[0] == pytest.approx(b[0], abs=1e-4)
                elif isinstance(a[0], float):
                    assert a[0] == pytest.approx(b[0], rel=1e-6, abs=1e-4)
                else:
                    assert a == b


@pytest.mark.slow
def test_every_kind_of_task_on_a_checkpoint(tiny: Path, tasks: Path, closing: list[Any]) -> None:
    found = evaluated(ours(str(tiny), closing), tasks, ALL)
    assert_equal(found, evaluated(theirs(tiny), tasks, ALL))
    assert 0 < found["results"]["own_choice"]["acc,none"] < 1
    assert any(s["filtered_resps"][0] != "[invalid]" for s in found["samples"]["own_answer"])


@pytest.mark.slow
def test_with_a_chat_template(tiny: Path, tasks: Path, closing: list[Any]) -> None:
    options = {"apply_chat_template": True, "system_instruction": "Be brief.", "limit": 4}
    names = ("own_choice", "own_answer")
    found = evaluated(ours(str(tiny), closing), tasks, names, **options)
    assert_equal(found, evaluated(theirs(tiny), tasks, names, **options))
    assert found["samples"]["own_answer"][0]["arguments"][0][0].startswith("system: Be brief.\nuser: Q")


@pytest.mark.slow
def test_on_the_micro_checkpoint(tmp_path: Path, closing: list[Any]) -> None:
    words = ("circle", "square", "triangle", "tone")
    documents = [
        {
            "question": f"what is the {['shape', 'pitch', 'colour'][i % 3]} of a {words[i % 4]} ?",
            "choices": [*words[i % 4 :], *words[: i % 4]],
            "answer": i % 4,
        }
        for i in range(8)
    ]
    include = write_tasks(tmp_path / "own", documents)
    found = evaluated(ours("micro", closing), include, ALL)
    assert_equal(found, evaluated(theirs(BUNDLED), include, ALL))


@pytest.mark.slow
def test_it_is_called_by_name(tiny: Path, tasks: Path) -> None:
    import eval_anything.lm_eval.lm  # noqa: F401  registers it

    arguments = {"model_args": f"model={tiny},device=cpu", "limit": 2, "device": "cuda:0"}
    found = evaluated("eval_anything", tasks, ["own_choice"], **arguments)
    assert found["n-samples"]["own_choice"]["effective"] == 2


@pytest.mark.slow
def test_a_seed_decides_what_is_drawn(tiny: Path, closing: list[Any]) -> None:
    from lm_eval.api.instance import Instance

    from eval_anything.lm_eval.lm import EvalAnythingLM

    def drawn(seed: int) -> list[str]:
        lm = EvalAnythingLM(str(tiny), seed=seed)
        closing.append(lm)
        kwargs = {"until": [], "max_gen_toks": 8, "do_sample": True, "temperature": 1.0}
        request = Instance("generate_until", {}, ("Draw", kwargs), 0, ("t", 0, 2))
        texts: list[str] = lm.generate_until([request, request])
        return texts

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 2


@pytest.mark.slow
def test_our_task_in_lm_eval_scores_as_here(tmp_path: Path, closing: list[Any], cli: Any) -> None:
    made = export(["micro/understanding"], tmp_path / "exported", max_tokens=32)
    name, count = made["micro/understanding"]
    assert count > 40
    found = evaluated(
        ours("micro", closing), tmp_path / "exported", [name], apply_chat_template=True, limit=15
    )
    command = ("run", "--model", "micro", "--tasks", "micro/understanding", "--first", "150")
    done = cli(*command, "--json", "--out", "run")
    assert done.code == 0, done.err
    lines = (tmp_path / "run/micro/understanding/records.jsonl").read_bytes().splitlines()
    here = {record["sample_id"]: record["scores"] for record in map(json.loads, lines)}
    both = [sample for sample in found["samples"][name] if sample["doc"]["id"] in here]
    assert len(both) > 8
    for sample in both:
        scores = here[sample["doc"]["id"]]
        assert {m: sample[m] for m in sample["metrics"]} == {m: s["value"] for m, s in scores.items()}


def test_an_export_of_another_version_is_refused(tmp_path: Path) -> None:
    from eval_anything.errors import UserError
    from eval_anything.lm_eval.export import Exported

    name, _ = export(["micro/understanding"], tmp_path)["micro/understanding"]
    task = Exported("micro/understanding", tmp_path / name)
    document = task.documents()["test"][0]
    assert set(task.score(document, ["circle"])) >= {"understanding"}
    with pytest.raises(UserError, match="export it again"):
        task.score({**document, "item": "0"}, ["circle"])


def test_what_nobody_could_answer_in_text_is_not_exported(tmp_path: Path) -> None:
    from eval_anything.errors import UserError

    message = "micro/synergy: no sample has a prompt and an answer in text alone"
    with pytest.raises(UserError, match=message):
        export(["micro/synergy"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_harness_is_not_imported_before_it_is_used() -> None:
    code = "import sys, eval_anything.cli.run; print({'lm_eval', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
