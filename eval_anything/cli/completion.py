"""`eval-anything completion`: a script that completes commands and options in a shell.

The script is made once and holds all names, so that a press of TAB starts no Python, which would take
0.2 s each time.
"""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.arguments import whole_parser
from eval_anything.cli.printing import show
from eval_anything.errors import Exit, UserError


def completion(options: Namespace) -> Exit:
    """Prints the script of a shell."""
    try:
        import shtab
    except ImportError:
        raise UserError("completion needs shtab: pip install shtab") from None
    script = shtab.complete(whole_parser(), options.shell).rstrip()
    return show(options, {"shell": options.shell, "script": script}, script)
