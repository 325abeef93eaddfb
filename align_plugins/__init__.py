"""Trainers: what the evaluation says, trained on, and evaluated while it trains.

`data/` holds the one form of training data, `policies/` turns parts into tokens and log-probabilities,
`losses/` are pure functions, and `sft`, `reward`, `dpo` and `ppo` put them together; `rl/` is what
learning from a policy's own answers needs beside. The command line finds them through the entry points
of `eval_anything.trainers`, as it finds anyone else's.
"""
