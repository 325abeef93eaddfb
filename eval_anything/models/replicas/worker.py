"""The process of a replica: python -m eval_anything.models.replicas.worker DESCRIPTOR

It gets a `Recipe` and loads the model, then batches of requests, over a socket of its parent. It ends
with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from eval_anything.media import MediaStore
from eval_anything.models.base import Model
from eval_anything.models.replicas.base import Recipe
from eval_anything.models.spec import resolve


def main(descriptor: int) -> None:
    """Serves until the socket is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError), asyncio.Runner() as runner:
        recipe = connection.recv()
        model = _reply(connection, lambda: _made(recipe))
        while model is not None:
            requests, media = connection.recv()
            store = MediaStore(media)
            _reply(connection, lambda: runner.run(model.generate(requests, store)), send=True)  # noqa: B023


def _made(recipe: Recipe) -> Model:
    model = resolve(recipe.spec, dict(recipe.arguments))
    model.batch_size = recipe.batch_size
    model.load()
    return model


def _reply(connection: Connection, work: Callable[[], Any], send: bool = False) -> Any:
    """Does some work and sends its result, if asked to, or the name and text of what it raises."""
    try:
        result = work()
    except Exception as error:
        connection.send((None, type(error).__name__, str(error)))
        return None
    connection.send((result if send else None, None, None))
    return result


def _end_with_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
