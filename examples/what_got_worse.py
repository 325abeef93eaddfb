"""Which samples did a new checkpoint lose? Two runs as tables, joined by sample.

python examples/what_got_worse.py BASE NEW [TASK:METRIC]
"""

import sys

import eval_anything as ea

base, new = ea.load_run(sys.argv[1]), ea.load_run(sys.argv[2])
task, _, metric = (sys.argv[3] if len(sys.argv) > 3 else "").partition(":")
task = task or base.file.tasks[0]
metric = metric or base.results.tasks[task].primary

pairs = base.to_pandas(task).merge(new.to_pandas(task), on="sample_id", suffixes=("_base", "_new"))
pairs["lost"] = pairs[f"{metric}_base"] - pairs[f"{metric}_new"]
answers = {record.sample_id: record for record in new.records(task)}
for _, row in pairs.sort_values("lost", ascending=False).head(5).iterrows():
    kinds = " ".join(part.modality for part in answers[row["sample_id"]].parts) or "nothing"
    print(f"{row['sample_id']:12} lost {row['lost']:.3f}, and is now answered with {kinds}")
