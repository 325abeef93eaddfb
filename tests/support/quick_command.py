"""An `eval-anything` and a `python` for shells: first on the PATH, they begin with the heavy packages
imported. `python` does so for scripts; all else is done by the real one.

The programs that stand there ask the process of the test for a fork (`processes.Command`), which writes
to their own stdout and stderr, and end with the fork's exit code.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Command, run_script

_PROGRAM = """\
#!{python} -IS
import json, os, socket, sys
if not {always} and not sys.argv[1].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as test:
    test.connect({address!r})
    request = [{always}, os.getpid(), sys.argv[1:], os.getcwd(), dict(os.environ)]
    test.sendall(json.dumps(request).encode() + b"\\n")
    sys.exit(int(test.makefile().readline()))
"""


@contextmanager
def quick_command(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of this process with such programs on its PATH, in `folder`/bin."""
    assert shutil.which("eval-anything", path=Path(sys.executable).parent), "pip install -e ."
    programs, address = folder / "bin", f"{folder}/forks"
    programs.mkdir()
    for name, always in (("eval-anything", True), ("python", False)):
        text = _PROGRAM.format(python=sys.executable, address=address, always=always)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    with socket.socket(socket.AF_UNIX) as forks:
        forks.bind(address)
        forks.listen()
        threading.Thread(target=_serve, args=(forks,), daemon=True).start()
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        yield {**os.environ, "PATH": path}
        forks.shutdown(socket.SHUT_RDWR)


def _serve(forks: socket.socket) -> None:
    while True:
        try:
            client = forks.accept()[0]
        except OSError:  # the test is over
            return
        threading.Thread(target=_run, args=(client,), daemon=True).start()


def _run(client: socket.socket) -> None:
    with client:
        command, pid, arguments, folder, environment = json.loads(client.makefile().readline())
        output, errors = (Path(f"/proc/{pid}/fd/{number}") for number in (1, 2))
        main = None if command else run_script
        process = Command(arguments, errors, output, environment, Path(folder), main=main)
        client.sendall(b"%d\n" % process.wait(400))
