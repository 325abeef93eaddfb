"""Labels by people: a local page asks for votes, preferences, grades and critiques.

`questions` makes the questions, `session` takes answers, `server` serves the page, `log` stores
every answer, `export` turns the log into files for judges, tasks and training, `summary` counts
answers and agreement.
"""
