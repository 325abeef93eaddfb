"""May the numbers of two runs be compared? Decided metric by metric, for comparisons, gates and sites.

A metric is decided by the task (its version, samples, template, metrics), by the sampling of the
answers and their number for each sample, and by its own judge. Another judge of the task is no part of
it, nor is the number of samples: two runs are compared on the samples that both have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval_anything.files.hashing import sha256_of
from eval_anything.runs.directory import RunFile
from eval_anything.runs.resume import LONGEST, shown
from eval_anything.sampling import DECISIVE

JUDGE = "judge "
"""Before the name of a judge, the key of its fingerprint among those of a task."""

REPEATS = "answers a sample"


_SHA256 = 64


def conditions(run: RunFile, task: str, judge: str | None = None) -> dict[str, str]:
    """The conditions under which a metric of a task was measured, as texts that are equal in runs that
    can be compared.

    Args:
        run: settings of the run.
        task: the task.
        judge: the judge of the metric. None: it is computed from the scores of all judges.
    """
    parts = {
        key: sha256
        for key, sha256 in run.fingerprints.get(task, {}).items()
        if not key.startswith(JUDGE) or judge is None or key == JUDGE + judge
    }
    sampling = {n: s for n, s in run.sampling_of(task).items() if n in DECISIVE}
    if parts.get("sampling") == sha256_of(sampling):  # the settings say more than their hash
        del parts["sampling"]
        parts |= {name: _condition(setting) for name, setting in sampling.items()}
    if run.repeats > 1:
        parts[REPEATS] = str(run.repeats)
    return parts


def _condition(setting: Any) -> str:
    """A setting as a text; the hash of a long one."""
    text = setting if isinstance(setting, str) else shown(setting)
    return text if len(text) < LONGEST else sha256_of(setting)


def unlike(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Names of the conditions that differ; with both values where they are no hashes.

    Example:
        >>> unlike({"temperature": "0", "version": "1"}, {"temperature": "0.7", "version": "1"})
        ['temperature 0 -> 0.7']
    """
    return [
        _words(name, first.get(name), second.get(name))
        for name in {**first, **second}
        if first.get(name) != second.get(name)
    ]


def _words(name: str, before: str | None, now: str | None) -> str:
    texts = [text for text in (before, now) if text is not None]
    is_setting = name in DECISIVE  # which is not set where it has no text
    if name.startswith(JUDGE) or any(len(text) == _SHA256 for text in texts):
        return name
    if name == REPEATS:
        return f"{name} {before or 1} -> {now or 1}"
    if len(texts) < 2 and not is_setting:
        return name
    return f"{name} {before or 'none'} -> {now or 'none'}"
