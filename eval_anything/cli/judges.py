"""`eval-anything judges`: list, show, validate and calibrate."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from eval_anything.cli.fields import judge_specs, pairs
from eval_anything.cli.printing import cost_lines, money_text, show
from eval_anything.errors import Exit, UserError
from eval_anything.evaluation.options import EVERY_JUDGE, JUDGE_VARIABLE, split_judge_arguments
from eval_anything.judges.folder import find_judges, judge_at, judge_named
from eval_anything.judges.registry import read_judge_file
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table

if TYPE_CHECKING:
    from eval_anything.judges.calibration.labels import Labels
    from eval_anything.judges.calibration.store import Calibration, JudgeMeasurement
    from eval_anything.judges.kind import JudgeFile


def list_judges(options: Namespace) -> Exit:
    """Prints a line for each judge."""
    files = {name: read_judge_file(f) for name, f in sorted(find_judges(options.include).items())}
    document = [
        {"name": name, "kind": f.kind, "sees": f.sees, "metrics": list(f.metrics)}
        for name, f in files.items()
    ]
    cells = [[name, f.kind, " ".join(f.sees), " ".join(f.metrics)] for name, f in files.items()]
    return show(options, document, table(["judge", "kind", "sees", "metrics"], cells))


def show_judge(options: Namespace) -> Exit:
    """Prints a judge's metrics, its folder, and its quality with each model that was measured."""
    from eval_anything.judges.calibration.store import calibrations_of

    folder = judge_named(options.name, find_judges(options.include))
    file = read_judge_file(folder)
    measured = calibrations_of(folder.name)
    rows = [
        [name, f"{m.range[0]:g} .. {m.range[1]:g}, {m.better} is better", m.description]
        for name, m in file.metrics.items()
    ]
    exact = ": exact, scored by code" if file.scorer_type.exact else ""
    calibrated = [f"\ncalibrated {c.date[:10]}: {_calibration(c)}" for c in measured]
    return show(
        options,
        {"name": folder.name, "path": str(folder.path), "judge": file, "calibrations": measured},
        f"{folder.name} ({file.kind}, version {file.version}): {file.title}\n{file.description}\n",
        f"sees {', '.join(file.sees)}; {folder.path}\n",
        table(["metric", "range", "what it is"], rows),
        *(calibrated or [f"\nnot calibrated{exact}"]),
    )


def validate_judge(options: Namespace) -> Exit:
    """Reads a folder as a run would; mistakes are listed by line. Code of the folder is imported and
    called only if that is allowed."""
    from eval_anything.judges.kinds.program import CodeFile

    folder = judge_at(options.path)
    file = read_judge_file(folder)
    document: dict[str, Any] = {"judge": folder.name, "kind": file.kind, "valid": True}
    lines = [f"{folder.name}: {file.kind}, gives {', '.join(file.metrics)}; no mistakes found"]
    if isinstance(file, CodeFile):
        document["code"] = file.tried(folder) if options.allow_code else None
        lines.append(document["code"] or "its code was read, not run: --allow-code imports and calls it")
    return show(options, document, *lines)


def calibrate_judge(options: Namespace) -> Exit:
    """Measures a judge against labels, saves the calibration, and prints it with its cost."""
    from eval_anything.evaluation.estimate import estimate_calibration
    from eval_anything.judges.assemble import make_judge
    from eval_anything.judges.calibration.measure import (
        calibrate,
        check_labels,
        metric_to_measure,
        repeated_rows,
    )
    from eval_anything.judges.calibration.store import save_calibration
    from eval_anything.servers.prices import Spending

    progress = Progress("silent" if options.json else "auto")
    folder = judge_named(options.name, find_judges(options.include))
    file = read_judge_file(folder)
    spec = _spec(options, file)
    scorer = make_judge(folder, options.allow_code, spec, _arguments(options))
    if not scorer.available:
        also = f" or --judge SPEC, or set {JUDGE_VARIABLE}" if file.asks_a_chat_model else ""
        raise UserError(
            f"{folder.name} needs a model: add --judge {folder.name}={file.model_form}{also}"
        )
    metric = metric_to_measure(scorer, options.metric)
    spending = scorer.spending = Spending(options.budget)
    spending.must_know([scorer.paid_as] if scorer.paid_as is not None else [])
    with _labels(options, progress) as labels:
        check_labels(scorer, labels)
        again = repeated_rows(labels.rows, options.again)
        if options.dry_run:
            rows = [*labels.rows, *(labels.rows[index] for index in again)]
            estimated = estimate_calibration(scorer, rows)
            return show(
                options,
                {
                    "judge": options.name,
                    "labels": len(labels.rows),
                    "again": len(again),
                    "cost": estimated,
                },
                f"{options.name} would be asked about {len(labels.rows)} labels, {len(again)} of them "
                "twice",
                *(cost_lines(estimated) or ["it asks no server: this costs no money"]),
            )
        with progress.count(len(labels.rows) + len(again), "label") as advance:
            # A server's address does not belong to the judge's identity, and may be private.
            model = re.sub(r"@https?://\S*", "", spec or "", flags=re.IGNORECASE)
            calibration = calibrate(scorer, metric, labels, model, options.again, advance)
    path = save_calibration(calibration)
    cost = spending.cost(scorer.paid_as)
    lines = [_calibration(calibration)]
    if scorer.paid_as is not None:
        tokens, money = cost.tokens, money_text(cost.money, cost.currency)
        about = "about " if tokens.estimated else ""
        lines.append(
            f"\n{cost.calls} calls, {about}{tokens.input} tokens in and {tokens.output} out: {money} "
            f"(prices of {cost.prices}); verdicts kept from before cost nothing"
        )
    document = {**msgspec.to_builtins(calibration), "cost": cost}
    return show(options, document, *lines, f"\nkept in {path}")


def correct_runs(options: Namespace) -> Exit:
    """Corrects a judged metric of runs by labels, and prints it raw and corrected."""
    from eval_anything.evaluation.report import results_table
    from eval_anything.judges.calibration.correct import correct
    from eval_anything.judges.calibration.labels import read_labels

    labels = read_labels(options.labels)
    outcomes = correct(labels, options.runs, options.metric, options.uniform)
    document = [
        {"run": str(o.run), "labels": o.labels, "remarks": o.remarks, "tasks": o.results.tasks}
        for o in outcomes
    ]
    lines = [
        "\n".join([str(o.run), results_table(o.results), *(f"- {r}" for r in o.remarks)])
        for o in outcomes
    ]
    return show(options, document, "\n\n".join(lines))


@contextmanager
def _labels(options: Namespace, progress: Progress) -> Iterator[Labels]:
    """A context with the labels that the options name; their media exist as long as it lasts."""
    from eval_anything.judges.calibration.labels import read_labels
    from eval_anything.micro.pairs.labels import micro_labels

    if options.micro:
        with TemporaryDirectory(prefix="eval-anything-") as media:
            progress.say("drawing pairs of the micro world ...")
            yield micro_labels(Path(media), options.limit)
    else:
        yield read_labels(options.labels, options.limit)


def _spec(options: Namespace, file: JudgeFile) -> str | None:
    """The model behind the one judge, as `run` finds it: that of `--judge NAME=SPEC`, or, for a judge
    that asks a chat model, of `--judge SPEC` or of the environment variable."""
    specs = judge_specs(options.judges)
    other = next((name for name in specs if name not in (options.name, EVERY_JUDGE)), None)
    if other is not None or not all(specs.values()):
        form = " or SPEC" if file.asks_a_chat_model else ""
        raise UserError(
            f"--judge {' '.join(options.judges)}: must be {options.name}={file.model_form}{form}"
        )
    if options.name in specs:
        return specs[options.name]
    if file.asks_a_chat_model:
        return specs.get(EVERY_JUDGE) or os.environ.get(JUDGE_VARIABLE, "").strip() or None
    if EVERY_JUDGE in specs:
        raise UserError(
            f"--judge {specs[EVERY_JUDGE]}: {options.name} asks no chat model. If it is for this judge: "
            f"--judge {options.name}={specs[EVERY_JUDGE]}"
        )
    return None


def _arguments(options: Namespace) -> dict[str, str]:
    """The arguments of the one judge, from `--judge-arg`."""
    shared, by_judge = split_judge_arguments(pairs("--judge-arg", options.judge_args))
    other = next((name for name in by_judge if name != options.name), None)
    if other is not None:
        raise UserError(f"--judge-arg {other}: the judge that is calibrated is {options.name}")
    return {**shared, **by_judge.get(options.name, {})}


_TITLES = {
    "accuracy": "accuracy (a tie counts half)",
    "kappa": "Cohen's kappa over a, b, tie",
    "length_bias": "length bias",
    "position_bias": "verdicts that follow the position",
    "first_preference": "wins of the first shown - of the second",
    "rho": "Spearman's rho",
    "alpha_interval": "Krippendorff's alpha, interval",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "kappa_quadratic": "quadratic-weighted kappa",
    "self_consistency": "asked again, the same decision",
    "alpha_self": "asked again, Krippendorff's alpha",
}


def _calibration(calibration: Calibration) -> str:
    """A calibration as text for people."""
    from eval_anything.judges.calibration.effects import sameness_text

    model = f" with {calibration.model}" if calibration.model else ""
    head = f"{calibration.judge}{model}, {calibration.metric}, against {calibration.labels}"
    blocks = [f"{head} (judge {calibration.fingerprint[:12]}, labels {calibration.sha256[:12]})"]
    for title, measured in (("pairs", calibration.pairs), ("graded responses", calibration.grades)):
        if measured is not None:
            blocks.append(_measured(title, measured))
    if calibration.same is not None:
        blocks.append(sameness_text(calibration.same))
    return "\n\n".join(blocks)


def _measured(title: str, measured: JudgeMeasurement) -> str:
    from eval_anything.statistics.agreement import attenuation

    accuracy = measured.figures.get("accuracy")
    rows = []
    for name, figure in measured.figures.items():
        estimate = "undefined" if figure.value is None else f"{figure.value:.3f}"
        ends = "" if figure.ci95 is None else f"{figure.ci95[0]:.3f} .. {figure.ci95[1]:.3f}"
        rows.append([_TITLES.get(name, name), estimate, ends, str(figure.n)])
    lines = [table([f"{measured.n} {title}", "value", "95 % interval", "n"], rows, right=(1, 3))]
    if measured.unscored:
        share = measured.unscored / measured.n
        wrong = "accuracy and kappa" if accuracy is not None else "sensitivity and specificity"
        lines.append(
            f"unscored: {measured.unscored} of {measured.n} ({share:.1%}), wrong in {wrong} and left "
            f"out of the rest. The first: {measured.reason}"
        )
    if accuracy is not None and accuracy.value is not None:
        j = attenuation(accuracy.value)
        cost = f"needs {1 / j**2:.1f} times the samples" if j > 0 else "cannot be seen"
        lines.append(f"Through this judge a difference has {j:.2f} of its size and {cost}.")
    return "\n".join(lines)
