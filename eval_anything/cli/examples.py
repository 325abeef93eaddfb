"""Examples in the help of commands, by the command's name."""

from __future__ import annotations

EXAMPLES = {
    "run": """\
eval-anything run --model micro --tasks synergy
eval-anything run --model path/to/checkpoint --tasks open --limit 40
eval-anything run --model openai/gpt-4o --tasks open/selection --dry-run
eval-anything run --model path/to/checkpoint --tasks open --where language=de --skip-unreadable
eval-anything run --model path/to/checkpoint --tasks open --shard 2/8 --out runs/shard-2""",
    "runs merge": "eval-anything runs merge runs/whole runs/shard-*",
    "score": """\
eval-anything score --outputs answers.jsonl --tasks open/selection
eval-anything score --outputs runs/first --tasks open/synergy --judge openai/gpt-4o""",
    "tasks list": """\
eval-anything tasks list
eval-anything tasks list --suite open""",
    "tasks show": """\
eval-anything tasks show open/selection
eval-anything tasks show open""",
    "tasks validate": "eval-anything tasks validate mine/demo",
    "tasks fetch": "eval-anything tasks fetch amu",
    "tasks export": "eval-anything tasks export lm_eval micro/understanding --out exported",
    "tasks new": "eval-anything tasks new mine/demo",
    "judges show": "eval-anything judges show synergy_rubric",
    "judges validate": """\
eval-anything judges validate mine
eval-anything judges validate mine --allow-code""",
    "judges new": """\
eval-anything judges new clarity --kind rubric
eval-anything judges new heard --kind metric --dir judges""",
    "judges calibrate": """\
eval-anything judges calibrate synergy_rubric --labels labels.jsonl --judge openai/gpt-4o
eval-anything judges calibrate micro_synergy_rm --micro --limit 100""",
    "judges correct": "eval-anything judges correct runs/base runs/new --labels me.labels.jsonl",
    "schema": "eval-anything schema results",
    "presets show": "eval-anything presets show qwen3-thinking",
    "compare": "eval-anything compare runs/base runs/new --markdown",
    "bill": "eval-anything bill runs/base runs/new --training runs/sft --html bill.html",
    "gate run": """\
eval-anything gate run --candidate runs/new --baseline runs/base --policy policy.yaml
eval-anything gate --candidate runs/new --policy micro""",
    "gate plan": "eval-anything gate plan --policy policy.yaml --baseline runs/base",
    "gate init": "eval-anything gate init policy.yaml",
    "leaderboard build": "eval-anything leaderboard build runs/one runs/two --out site",
    "annotate": """\
eval-anything annotate open/synergy --outputs runs/one --annotator anna
eval-anything annotate open/synergy --outputs runs/one --against runs/two""",
    "train": """\
eval-anything train dpo --config dpo.yaml
eval-anything train dpo --config dpo.yaml beta=0.2 out=trained""",
    "data check": "eval-anything data check pairs.jsonl",
    "data convert": "eval-anything data convert rows.parquet --out data",
    "completion": """\
eval-anything completion bash > ~/.bash_completion
eval-anything completion zsh > ~/.zfunc/_eval-anything""",
}
