"""Writes docs/experiment.md and its figure from the results of the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from align_plugins.experiment.analysis import (
    Analysis,
    ArmOutcome,
    ClaimTest,
    SeedEstimate,
    analyse,
    figure,
)
from align_plugins.experiment.figure import Dot, picture
from align_plugins.experiment.plan import BASE, Claim, ExperimentPlan
from eval_anything.content import MODALITIES
from eval_anything.files.writing import write_atomically
from eval_anything.output.tables import markdown_table

PAGE, PICTURE = "experiment.md", "experiment.svg"


BEGIN, END = "<!-- written by hand, kept when the page is written again -->", "<!-- end -->"


_HEAD = """# Is language feedback worth more than binary preferences?

`make experiment` asks this on the [micro world](micro.md), where every answer can be judged without
error, and writes this page. Its plan is [experiment.yaml](../align_plugins/experiment/experiment.yaml),
which was fixed before anything ran. What came of it can be written again with
`python -m align_plugins.experiment page`; both need a checkout of the repository.

Every arm starts from the bundled model `micro` and gets the same number of labels from annotators who
are wrong with probability {noise:g}: which of two answers is better, or, in words, what is wrong with
one answer. Answers are drawn at temperature 1, second and refined ones too, and every arm learns from as
many pairs, once. The critic of the LLF arms learns from its critiques alone; it also says which second
answers are better, so no arm has a label beyond its budget. *Resampled without feedback* is the same
pipeline, but the second answer is drawn without the critique: what it gains does not come from feedback.

Numbers are greedy, over {seeds} seeds (data, critic and training are drawn anew with each) and all items
of the tasks; intervals are over seeds and items. It is a model of 0.9 M parameters in a toy world: it
shows whether the code does what the paper's method claims, and nothing of larger models. One advantage
of LLF is no label: `micro` saw 10,000 conversations with feedback when it was made, so it knows how to
fix an answer, as a chat model would.

![Selection, synergy and instruction following of every arm](experiment.svg)
"""


def write_page(plan: ExperimentPlan, out: Path, docs: Path) -> Path:
    """Writes the page and its figure into `docs`; returns the path of the page."""
    analysis = analyse(plan, out)
    titles = {BASE: "Start", **{arm.name: arm.title for arm in plan.arms}}
    sections = [
        _HEAD.format(noise=plan.noise, seeds=len(plan.seeds)),
        *_findings(docs / PAGE),
        "## Arms\n",
        _arms(analysis, titles),
        "## Claims\n",
        _claims(plan, analysis, titles),
        "## Modalities\n",
        _modalities(analysis, titles),
        "## Budgets\n",
        _budgets(plan, analysis, titles),
    ]
    write_atomically(docs / PICTURE, _picture(analysis, titles).encode())
    write_atomically(docs / PAGE, "\n".join(sections).encode())
    return docs / PAGE


def _findings(page: Path) -> list[str]:
    """The section of the existing page that is written by hand."""
    before = page.read_text("utf-8") if page.is_file() else ""
    _, begin, after = before.partition(BEGIN)
    return [f"{begin}{after.partition(END)[0]}{END}\n"] if begin else []


def _picture(analysis: Analysis, titles: Mapping[str, str]) -> str:
    panels: dict[str, list[Dot | None]] = {}
    ranges = {}
    for key in analysis.primary:
        name = key[1].replace("_", " ")
        ranges[name] = analysis.outcomes[BASE].items[key].range
        panels[name] = []
        for outcome in analysis.outcomes.values():
            estimate = _figure(outcome, key)
            panels[name].append(None if estimate is None else Dot(*estimate[:3]))
    rows = [titles[name] for name in analysis.outcomes]
    return picture(
        "Every arm with its 95 % interval; the dashed line is the start", rows, panels, ranges
    )


def _figure(outcome: ArmOutcome, key: tuple[str, str]) -> SeedEstimate | None:
    items = outcome.items.get(key)
    if items is None:
        return None
    estimate, (least, most) = figure(items.values, items.clusters), items.range
    return estimate._replace(low=max(estimate.low, least), high=min(estimate.high, most))


def _arms(analysis: Analysis, titles: Mapping[str, str]) -> str:
    head = ["arm", "seeds", *(metric.replace("_", " ") for _, metric in analysis.primary)]
    rows = [
        [titles[name], str(outcome.seeds), *(_cell(_figure(outcome, key)) for key in analysis.primary)]
        if outcome.items
        else [titles[name], "0", *["not run"] * len(analysis.primary)]
        for name, outcome in analysis.outcomes.items()
    ]
    return f"{markdown_table(head, rows)}\n"


def _cell(estimate: SeedEstimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.3f} {_interval(estimate, '.3f')}"


def _interval(estimate: SeedEstimate, style: str) -> str:
    return f"({estimate.low:{style}} .. {estimate.high:{style}})"


def _claims(plan: ExperimentPlan, analysis: Analysis, titles: Mapping[str, str]) -> str:
    rows = []
    for claim in plan.claims:
        tests = [test for test in analysis.claims if test.claim == claim]
        pair = f"{titles[claim.candidate]} - {titles[claim.base]}"
        cells = [_change(test.difference, test.p_holm) for test in tests] or ["not run"] * len(
            analysis.primary
        )
        rows.append([claim.says, pair, *cells, verdict(claim, tests)])
    head = ["claim", "difference", *(m.replace("_", " ") for _, m in analysis.primary), "holds here"]
    family = len(analysis.claims)
    return (
        f"{markdown_table(head, rows)}\n\n"
        f"p are Holm's, over all {family} differences that were tested. A claim holds on a metric where "
        "p is below 0.05 in its direction; one of *as good as* is tested against a loss of its margin.\n"
    )


def _change(estimate: SeedEstimate, p: float) -> str:
    return f"{estimate.value:+.3f} {_interval(estimate, '+.3f')}, p = {p:.2g}"


def verdict(claim: Claim, tests: Sequence[ClaimTest]) -> str:
    """Outcome of a claim in words: the metrics on which it holds, or on which the opposite does."""
    if not tests:
        return "not run"
    confirmed = [test.key[1].replace("_", " ") for test in tests if test.significant]
    contradicted = [
        test.key[1].replace("_", " ")
        for test in tests
        if not test.significant and test.difference.value < 0 and test.p_holm < 0.05
    ]
    if len(confirmed) == len(tests):
        return "yes"
    phrases = [f"on {', '.join(confirmed)}"] if confirmed else ["not shown"]
    return "; ".join(
        [*phrases, *([f"the opposite on {', '.join(contradicted)}"] if contradicted else [])]
    )


def _modalities(analysis: Analysis, titles: Mapping[str, str]) -> str:
    keys = {
        str(m): next((k for k in analysis.outcomes[BASE].items if k[1] == f"if_{m}"), None)
        for m in MODALITIES
    }
    rows = [
        [titles[name], *(_cell(_figure(outcome, key)) if key else "" for key in keys.values())]
        for name, outcome in analysis.outcomes.items()
        if outcome.items
    ]
    fallen = [fall for fall in analysis.falls if fall.p_holm < 0.05]
    if not analysis.falls:
        return "No arm has been run.\n"
    sentence = (
        "Significant falls against the start (one-sided, Holm over all arms and modalities): "
        + "; ".join(
            f"{titles[f.arm]} in {f.modality}, {_change(f.difference, f.p_holm)}" for f in fallen
        )
        if fallen
        else "No modality of any arm falls significantly against the start (one-sided, Holm over all "
        "arms and modalities)"
    )
    table = markdown_table(["arm", *keys], rows)
    return f"Instruction following by modality, 0 to 10.\n\n{table}\n\n{sentence}.\n"


def _budgets(plan: ExperimentPlan, analysis: Analysis, titles: Mapping[str, str]) -> str:
    rows = []
    for arm in plan.arms:
        outcome = analysis.outcomes[arm.name]
        if outcome.cost:
            cost = outcome.cost
            rows.append(
                [
                    titles[arm.name],
                    f"{plan.pairs_of(arm):,}",
                    f"{cost['pairs']:,.0f}",
                    f"{100 * cost['better']:.0f} / {100 * cost['equal']:.0f} %",
                    f"{cost['gain']:+.2f}",
                    f"{cost['learned_tokens']:,.0f}",
                    f"{cost['drawn_tokens']:,.0f}",
                    f"{cost['seconds']:,.0f}",
                ]
            )
    head = [
        "arm",
        "labels",
        "pairs",
        "right / equal",
        "gain",
        "tokens learned from",
        "tokens drawn",
        "seconds",
    ]
    return (
        f"{markdown_table(head, rows)}\n\n"
        "Means over seeds, on one thread each. Right are pairs whose chosen answer is better in truth, "
        "equal those whose answers are as good; the gain is that of exact utility. No arm knows these. "
        "Drawn are first responses, critiques and second responses; answers that were labelled are not "
        "counted. Arms of a seed share stages: the arm that came first has their seconds.\n"
    )
