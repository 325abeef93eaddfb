"""`python -m eval_anything` is `eval-anything`."""

import sys

from eval_anything.cli.main import main

sys.exit(main())
