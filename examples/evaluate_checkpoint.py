"""Evaluates a checkpoint from Python: primary metrics with intervals, then its weakest prompts.

python examples/evaluate_checkpoint.py [SPEC TASKS]      default: micro micro_quick
"""

import sys

import eval_anything as ea

model, tasks = sys.argv[1:] or ["micro", "micro_quick"]
run = ea.evaluate(model, tasks=tasks, limit=20)

for name, task in run.results.tasks.items():
    metric = task.main
    low, high = metric.ci95 or (float("nan"), float("nan"))
    print(f"{name:30} {task.primary:25} {metric.value:.3f}  {low:.3f} .. {high:.3f}  n {metric.n}")

first, task = next(iter(run.results.tasks.items()))
weakest = run.to_pandas(first).sort_values(task.primary).head(3)
print(f"\nweakest in {first}:", ", ".join(weakest["sample_id"]))
for reason in run.reasons:
    print("note:", reason)
