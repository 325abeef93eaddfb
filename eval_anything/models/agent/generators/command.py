"""A generator that runs a local program, such as espeak-ng or a script; never through a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from eval_anything.errors import UserError, near
from eval_anything.files.hashing import hash_files, sha256_of
from eval_anything.files.reading import read_file
from eval_anything.models.agent.generators.base import (
    Generator,
    GeneratorContext,
    GeneratorError,
    GeneratorSettings,
    Order,
)

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


_KNOWN = ("prompt", "seed", "out", "folder")


_BOUNDED = Path(__file__).with_name("bounded.py")


_FILES_IN_FOLDER = 4
"""Times the size of one medium that the program's folder may take: steps on the way to it."""


_SECONDS_TO_END = 10.0


_STDERR_SHOWN = 500  # characters of stderr in the message of a failure


_OF_SIZE = (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)
"""Exit codes of a program, or of its shell, that a write beyond the bound has ended."""


class CommandSettings(GeneratorSettings, frozen=True, kw_only=True):
    """The settings of a generator that runs a program.

    Attributes:
        command: the program and its arguments, which may contain {prompt}, {seed}, {folder} (that of the
            agent's file) and {out} (the file to write; without it the medium is read from stdout).
        stdin: whether the program reads the prompt from stdin.
        seconds: the longest time for one medium.
        megabytes: the largest size of one medium, and of any file that the program writes; all files in
            its folder together take at most four times as much.
        concurrency: how many programs may run at once.
    """

    command: list[str]
    stdin: bool = False
    seconds: float = 120.0
    megabytes: float = 64.0
    concurrency: int = 2

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise ValueError("the command is empty: it is a list of the program and its arguments")
        for number, argument in enumerate(self.command):
            for name in _PLACEHOLDER.findall(argument):
                if name not in _KNOWN:
                    hint = near(name, _KNOWN) or f" Known: {', '.join(_KNOWN)}."
                    raise ValueError(f"unknown placeholder {{{name}}} in the command.{hint}")
            if argument.startswith("{prompt}") and "--" not in self.command[1:number]:
                raise ValueError(
                    'a prompt that begins with "-" would be read as an option: put "--" before '
                    "{prompt} in the command, or use `stdin: true`"
                )
        if self.stdin == any("{prompt}" in argument for argument in self.command):
            raise ValueError("the prompt must go into the command as {prompt}, or in by `stdin: true`")
        if not (self.seconds > 0 and self.megabytes > 0 and self.concurrency > 0):
            raise ValueError("seconds, megabytes and concurrency must be above 0")


class CommandGenerator(Generator):
    """Runs the program once for each medium, each time in a new empty folder."""

    settings_type = CommandSettings

    def __init__(self, settings: GeneratorSettings, context: GeneratorContext) -> None:
        assert isinstance(settings, CommandSettings)
        self.settings = settings
        self.concurrency = settings.concurrency
        self._folder = context.folder
        name = settings.command[0].replace("{folder}", str(context.folder))
        beside = context.folder / name  # a path relative to the file, if it is no bare name
        executable = shutil.which(beside if os.sep in name else name)
        if executable is None:
            raise UserError(
                f"{context.name}: there is no program {name!r}: install it, or give its path"
            )
        # Not resolved: the Python of a virtual environment is a link, and its place names its packages.
        self._program = Path(executable).absolute()

    def weights(self) -> str:
        """sha256 of the program and of the files that its arguments name."""
        arguments = [self._filled(argument, {}) for argument in self.settings.command[1:]]
        files = [Path(argument) for argument in arguments if os.sep in argument]
        return sha256_of([hash_files([self._program]), *(hash_files([f]) for f in files if f.is_file())])

    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        """The files that the program writes for the orders, run one after another."""
        return [await self._medium(order) for order in orders]

    async def _medium(self, order: Order) -> bytes:
        with tempfile.TemporaryDirectory(prefix="eval-anything-") as folder:
            prompt = order.prompt.replace("\0", " ")  # no argument can hold it
            values = {"prompt": prompt, "seed": str(order.seed), "out": str(Path(folder) / "out")}
            arguments = [self._filled(argument, values) for argument in self.settings.command[1:]]
            stdout = await self._run(arguments, folder, prompt.encode() if self.settings.stdin else None)
            if not any("{out}" in argument for argument in self.settings.command):
                return stdout
            return self._written(Path(folder))

    def _written(self, folder: Path) -> bytes:
        """The bytes of the one file `out`, or `out` with an extension."""
        files = [path for path in sorted(folder.glob("out*")) if path.is_file()]
        if len(files) != 1:
            names = ", ".join(path.name for path in files) or "nothing"
            raise GeneratorError(f"{self._program.name} wrote {names} instead of one file")
        try:
            return read_file(files[0], self._most)
        except OSError:
            raise self._too_large() from None

    async def _run(self, arguments: Sequence[str], folder: str, stdin_bytes: bytes | None) -> bytes:
        """The program's output on stdout. GeneratorError if it fails, writes too much or is too slow."""
        # Files, not pipes: with a pipe that is not read to its end, `wait` hangs for a killed program.
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            stdin.write(stdin_bytes or b"")
            stdin.seek(0)
            code = await self._exit_code(arguments, folder, (stdin, stdout, stderr))
            if code in _OF_SIZE or os.fstat(stdout.fileno()).st_size > self._most:
                raise self._too_large()
            if code != 0:
                raise GeneratorError(
                    f"{self._program.name} ended with {code}: {_end_of(stderr) or 'no message'}"
                )
            stdout.seek(0)
            return stdout.read()

    async def _exit_code(
        self, arguments: Sequence[str], folder: str, files: tuple[IO[bytes], IO[bytes], IO[bytes]]
    ) -> int:
        """The exit code of the program, run within its bounds and with these files as stdin, stdout and
        stderr.

        All processes that it started are killed when it returns, and also when this process is.
        """
        stdin, stdout, stderr = files
        lifeline, far_end = socket.socketpair()
        with lifeline:
            with far_end:
                bounds = [str(far_end.fileno()), folder, str(self._most + 1)]
                bounds.append(str(self._most * _FILES_IN_FOLDER))
                try:
                    process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-I", "-S", str(_BOUNDED), *bounds),
                        *(str(self._program), *arguments),
                        cwd=folder,
                        stdin=stdin,
                        stdout=stdout,
                        stderr=stderr,
                        pass_fds=(far_end.fileno(),),
                        start_new_session=True,  # Ctrl-C is for this process
                    )
                except (OSError, ValueError) as error:
                    raise GeneratorError(f"{self._program.name} does not start: {error}") from None
            try:
                async with asyncio.timeout(self.settings.seconds):
                    await process.wait()
            except TimeoutError:
                seconds = f"{self.settings.seconds:g} s"
                raise GeneratorError(f"{self._program.name} took more than {seconds}") from None
            finally:
                lifeline.shutdown(socket.SHUT_WR)  # if it still runs, it ends all
                await _ended(process)
            return self._code_in(lifeline.recv(4096))

    def _code_in(self, reply: bytes) -> int:
        """The exit code in the reply of `bounded`. GeneratorError if there is none."""
        kind, _, words = reply.decode().partition(" ")
        if kind == "large":
            raise self._too_large()
        if kind != "code":
            reason = words or "the process that bounds it was ended"
            raise GeneratorError(f"{self._program.name} does not start: {reason}")
        return int(words)

    @property
    def _most(self) -> int:
        return int(self.settings.megabytes * 2**20)

    def _too_large(self) -> GeneratorError:
        return GeneratorError(f"{self._program.name} wrote more than {self.settings.megabytes:g} MB")

    def _filled(self, argument: str, values: Mapping[str, str]) -> str:
        placeholders = {"folder": str(self._folder), **values}
        return _PLACEHOLDER.sub(lambda match: placeholders.get(match[1], match[0]), argument)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Waits for a process that is about to end; kills it if it does not."""
    try:
        async with asyncio.timeout(_SECONDS_TO_END):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _end_of(file: IO[bytes]) -> str:
    """The last words that were written into a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4 * _STDERR_SHOWN))
    return " ".join(file.read().decode(errors="replace").split())[-_STDERR_SHOWN:]
