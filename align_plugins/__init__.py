"""Trainers: methods that learn from what the evaluation says, and are evaluated while they train.

methods      sft, dpo, reward, ppo/, feedback/: each a class that the command line finds by its name
training     the parts of a training that methods share: data to report, adapters, engine, log
experiment   the experiment of docs/experiment.md
evaluation   checkpoints evaluated in a process of their own, and the report at the end
policies     families of models: tokens of parts, batches, log-probabilities
data         the one form of training data: rows, files, conversions
losses       pure functions of log-probabilities and rewards

The command line finds methods through the entry points of `eval_anything.trainers` (trainer.py), as it
finds anyone else's. A room imports from rooms below it alone.
"""
