"""`python -m eval_anything` is `eval-anything`."""

from __future__ import annotations

import sys

from eval_anything.cli.main import main

sys.exit(main())
