"""Runs `eval-anything` commands in forked children, so that a test need not pay for imports each time.

Reads one JSON list of arguments a line from stdin, answers with the child's process id, and, when
the child has ended, with its exit status (negative: the signal that killed it).
"""

from __future__ import annotations

import json
import os
import sys

import scipy.special  # noqa: F401
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaForCausalLM  # noqa: F401

import eval_anything.cli.run
import eval_anything.models.generation  # noqa: F401
from eval_anything.cli.main import main
from eval_anything.micro import codec, perceive  # noqa: F401

# Threads do not survive a fork: nothing may run on torch before this process forks.
torch.set_num_threads(1)
errors = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(errors, 2)
        os._exit(main(json.loads(line)))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
