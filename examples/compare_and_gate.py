"""Is a checkpoint worse than yesterday's? Two runs, what changed between them, and the gate's verdict.

python examples/compare_and_gate.py
"""

import eval_anything as ea

# Here the same model, whose answers are cut short in the second run, stands for two checkpoints.
base = ea.evaluate("micro", tasks="micro_quick", limit=40, out="runs/base")
new = ea.evaluate(
    "micro", tasks="micro_quick", limit=40, out="runs/new", model_args={"max_new_tokens": 12}
)

for metric in ea.compare(base.path, new.path).metrics:
    if metric.primary:
        print(f"{metric.name:45} {metric.base:.3f} -> {metric.candidate:.3f}  p {metric.change.p:.3f}")

verdict = ea.gate(new.path, "micro", baseline=base.path)
print("gate:", verdict.verdict)
