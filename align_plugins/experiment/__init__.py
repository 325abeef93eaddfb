"""`make experiment`: is language feedback worth more than binary preferences, on the micro world?

`experiment.yaml` is the plan, committed before anything runs; `data` draws prompts and labels, `plan`
reads the plan, `running` trains the arms, `analysis` compares them, `page` writes docs/experiment.md.
"""
