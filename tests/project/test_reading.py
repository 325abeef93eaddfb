"""Files that others may have made are opened in one place (`files/reading`), with bounds."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

OPENS = re.compile(r"\.read_bytes\(|\.read_text\(|\.open\(\"rb?\"|yaml\.(safe_)?load\(")

OWN = {
    "align_plugins/evaluation/checkpoints.py": "logs and notes of its own training",
    "align_plugins/evaluation/page.py": "the folder of its own training",
    "align_plugins/methods/feedback/stages.py": "stages of its own training",
    "align_plugins/training/finetuning.py": "its own result",
    "align_plugins/workdir.py": "the folder of its own training",
    "eval_anything/annotate/server.py": "bundled pages",
    "eval_anything/cli/new_judge.py": "a bundled example",
    "eval_anything/evaluation/merge.py": "the run that this merge has begun",
    "eval_anything/lazy.py": "code of this package",
    "eval_anything/leaderboard/build.py": "code of this package",
    "eval_anything/leaderboard/pages.py": "bundled pages, and the site that was just written",
    "eval_anything/lm_eval/names.py": "YAML that `files/reading` has read",
    "eval_anything/lm_eval/options.py": "a word of the command line",
    "eval_anything/media/images.py": "in the process that decodes, behind `kind_of_file`",
    "eval_anything/media/sounds.py": "in the process that decodes, behind `kind_of_file`",
    "eval_anything/media/truncation.py": "in the process that decodes, behind `kind_of_file`",
    "eval_anything/models/agent/generators/model.py": "a medium that was just stored",
    "eval_anything/tasks/datasets/archives.py": "a file that was just unpacked",
    "eval_anything/tasks/datasets/fetch.py": "a file that was just fetched",
}


@pytest.mark.parametrize("package", ["eval_anything", "align_plugins"])
def test_no_other_module_opens_files_of_others(package: str) -> None:
    apart = ("eval_anything/micro/making/", "align_plugins/experiment/")
    opening = {
        name
        for path in (ROOT / package).rglob("*.py")
        if not (name := path.relative_to(ROOT).as_posix()).startswith(apart)
        and OPENS.search(path.read_text("utf-8"))
    }
    assert opening == {name for name in OWN if name.startswith(package)}
