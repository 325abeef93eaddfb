"""What commands write: one JSON document, or lines for people."""

from __future__ import annotations

import sys
from typing import Any

from eval_anything.files import pretty_json


def print_json(value: Any) -> None:
    """The command's one document on stdout."""
    sys.stdout.write(pretty_json(value).decode())
