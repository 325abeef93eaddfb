"""The process of a replica: python -m eval_anything.models.replicas.worker DESCRIPTOR

It gets a `Recipe`, loads the model, and then gets batches, over a socket of its parent. It ends with
its parent.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from multiprocessing.connection import Connection

from eval_anything.media import MediaStore
from eval_anything.models.replicas.replies import reply_of


def main(descriptor: int) -> None:
    """Serves until the socket is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError):
        answer, *error = reply_of(connection.recv().make)
        connection.send((None, *error))
        while answer is not None:
            batch, media = connection.recv()
            store = MediaStore(media)
            connection.send(reply_of(lambda: answer(batch, store)))  # noqa: B023


def _end_with_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
