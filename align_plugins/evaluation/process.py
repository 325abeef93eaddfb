"""The process that evaluates a checkpoint: python -m align_plugins.evaluation.process PARENT ARGUMENTS

It runs `eval-anything ARGUMENTS` and ends when its parent, the training, is gone. So a kill leaves no
process behind, and the resumed training can take over the run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_SIGNAL_ON_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)


def main() -> int:
    """Runs the command and returns its exit code."""
    parent, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_SIGNAL_ON_PARENTS_DEATH, signal.SIGTERM)
    if os.getppid() != int(parent):  # it was gone before the line above
        return 1
    from eval_anything.cli.main import main as command

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
