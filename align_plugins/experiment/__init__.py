"""`make experiment`: is language feedback worth more than binary preferences, on the micro world?

`experiment.yaml` is the plan, committed before anything runs; `data` makes prompts and labels, `plan`
reads the plan, `run` trains the arms, `analysis` compares them, `page` writes docs/experiment.md.
"""
