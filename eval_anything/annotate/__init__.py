"""Labels by people: a local page asks for votes, preferences, grades and critiques.

`questions` makes what is asked, `session` takes answers, `server` is the page's server, `log` keeps
every answer, `export` turns the log into files for judges, tasks and training, `summary` counts.
"""
