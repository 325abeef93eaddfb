"""The command line of lm-evaluation-harness, with our models as `--model eval_anything`."""

from __future__ import annotations

from lm_eval.__main__ import cli_evaluate

cli_evaluate()
