"""The command line of lm-evaluation-harness, with our models as `--model eval_anything`."""

from lm_eval.__main__ import cli_evaluate

import eval_anything.harness.lm  # noqa: F401  registers the name

cli_evaluate()
