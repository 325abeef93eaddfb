"""Writes parts of judges/README.md: keys and variables of judges, from the types of their kinds, and the
code of a metric.

python docs/make_judges.py
"""

from __future__ import annotations

from pathlib import Path

from align_plugins.settings import rows_of_settings
from eval_anything import plugins
from eval_anything.judges.asking.chat_judge import ChatJudgeFile
from eval_anything.judges.asking.checklist import CriterionEntry
from eval_anything.judges.kind import JudgeFile
from eval_anything.judges.registry import judge_kind

PAGE = Path(__file__).resolve().parent.parent / "judges/README.md"
METRIC = PAGE.parent / "_new/metric/score.py"
BEGIN = "<!-- {}, written by docs/make_judges.py -->\n"
END = "<!-- end -->\n"


def tables() -> str:
    """The tables of the keys of judge.yaml and of the variables of templates."""
    kinds = {name: judge_kind(name) for name in plugins.names(plugins.SCORERS)}
    of_all = {name for name, _, _ in rows_of_settings(JudgeFile)}
    owners: dict[tuple[str, str, str], list[str]] = {}
    for kind, file in kinds.items():
        for row in rows_of_settings(file):
            owners.setdefault(row, []).append("all" if row[0] in of_all else kind)
    for row in rows_of_settings(CriterionEntry, "checklist[]."):
        owners[row] = ["rubric"]
    keys = [
        f"| `{name.replace('metrics.', 'metrics.NAME.')}` | {' '.join(dict.fromkeys(of))} | {default} "
        f"| {meaning} |"
        for (name, default, meaning), of in sorted(owners.items(), key=lambda item: _order(item[1]))
    ]
    variables: dict[tuple[str, str], list[str]] = {}
    for kind, file in kinds.items():
        if issubclass(file, ChatJudgeFile):
            for entry in file.variables.items():
                variables.setdefault(entry, []).append(kind)
    return "\n".join(
        [
            "| key of judge.yaml | kinds | default | what it is |\n|---|---|---|---|",
            f"| `kind` | all | required | {', '.join(f'`{kind}`' for kind in kinds)} |",
            *keys,
            "\n| variable of a template | kinds | what it is |\n|---|---|---|",
            *(f"| `{name}` | {' '.join(of)} | {about} |" for (name, about), of in variables.items()),
            "",
        ]
    )


def _order(kinds: list[str]) -> tuple[bool, int, str]:
    """Keys of all kinds come first, then those of several, then those of one."""
    return "all" not in kinds, -len(kinds), kinds[0]


def page() -> str:
    """The text of judges/README.md with its present parts."""
    text = PAGE.read_text("utf-8")
    code = METRIC.read_text("utf-8").replace("NAME", "heard")
    for name, content in (("keys", tables()), ("code", f"```python\n{code}```\n")):
        begin = BEGIN.format(name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{content}\n{END}{rest.partition(END)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
