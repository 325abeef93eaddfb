"""Training methods that learn from judgements of the evaluation and are evaluated while they train.

methods      sft, dpo, reward, ppo/, feedback/: each a class that the command line finds by its name
training     parts that methods share: reading data, adapters, engine, monitoring, metrics, sampling
experiment   the experiment of docs/experiment.md
evaluation   checkpoints evaluated in a process of their own, and the report at the end
policies     families of models: tokens of parts, batches, log-probabilities
data         the form of training data: rows, files, conversions
losses       pure functions of log-probabilities and rewards

The command line finds methods through the entry points of `eval_anything.trainers` (trainer.py), as it
finds those of other packages. A room imports from the rooms below it only.
"""
