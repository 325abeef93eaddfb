"""An `eval-anything` and a `python` for shells: first on the PATH, they begin with all imported that a
command needs. `python` does so for scripts, for data of the micro world, and for evaluations that a
training by such an `eval-anything` begins; all else is done by the real one.

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
from functools import partial
from pathlib import Path

from tests.support.processes import Command, Main, run_command, run_module, run_script

# `-m` with one of these. The process of an evaluation is for test_evaluation.py.
_EVALUATION, _DATA = "align_plugins.evaluation.process", "align_plugins.experiment.micro_data"

_PROGRAM = """\
#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
if not {always} and not words[0].endswith(".py") and words[:2] not in {modules}:
    os.execv({python!r}, [{python!r}, *words])
with socket.socket(socket.AF_UNIX) as test:
    test.connect({address!r})
    request = [{always}, os.getpid(), words, os.getcwd(), dict(os.environ)]
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
        modules = [["-m", module] for module in (_EVALUATION, _DATA)]
        text = _PROGRAM.format(python=sys.executable, address=address, always=always, modules=modules)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    with socket.socket(socket.AF_UNIX) as forks:
        forks.bind(address)
        forks.listen()
        threading.Thread(target=_serve, args=(forks, programs / "python"), daemon=True).start()
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        yield {**os.environ, "PATH": path}
        forks.shutdown(socket.SHUT_RDWR)


def _serve(forks: socket.socket, python: Path) -> None:
    while True:
        try:
            client = forks.accept()[0]
        except OSError:  # the test is over
            return
        threading.Thread(target=_run, args=(client, python), daemon=True).start()


def _run(client: socket.socket, python: Path) -> None:
    with client:
        command, pid, arguments, folder, environment = json.loads(client.makefile().readline())
        output, errors = (Path(f"/proc/{pid}/fd/{number}") for number in (1, 2))
        main: Main = partial(run_command, str(python))
        if arguments[:2] == ["-m", _EVALUATION]:
            arguments = arguments[3:]  # without the process that it ends with
        elif arguments[:1] == ["-m"]:
            main, arguments = run_module, arguments[1:]
        elif not command:
            main = run_script
        process = Command(arguments, errors, output, environment, Path(folder), main=main)
        client.sendall(b"%d\n" % process.wait(400))
