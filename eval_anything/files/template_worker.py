"""The process that renders templates of others: `python -m ...template_worker SECONDS BYTES`.

What it is sent comes from its parent alone, so pickles are safe in this direction; it answers in JSON.
"""

from __future__ import annotations

import base64
import pickle
import sys

from eval_anything.files.templates import TemplateError
from eval_anything.isolation import Json, limit_itself, serve

_TEMPLATES_A_PROCESS = 100_000


def answer(request: Json) -> Json:
    """The "text" of a template, or "error" and "line", or "memory"."""
    template, variables = pickle.loads(base64.b64decode(request["job"]))
    try:
        if variables is None:
            template.compile_here()
            return {"text": ""}
        return {"text": template.render_here(variables)}
    except TemplateError as error:
        return {"error": str(error), "line": error.line}
    except MemoryError:
        return {"memory": True}


def main(seconds: int, memory: int) -> None:
    """Answers until stdin ends."""
    import jinja2.sandbox  # noqa: F401  (its import must not count as memory or time of a template)

    limit_itself(memory, file_bytes=0)
    serve(answer, seconds, _TEMPLATES_A_PROCESS)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
