"""An evaluation, from options to results: plan, pipeline, statistics of a run, its page."""
