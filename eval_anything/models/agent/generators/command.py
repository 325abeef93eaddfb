"""A generator that runs a local program, such as espeak-ng or a script; never through a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from eval_anything.errors import UserError, near
from eval_anything.files.hashing import hash_files, sha256_of
from eval_anything.models.agent.generators.base import (
    Generator,
    GeneratorContext,
    GeneratorError,
    GeneratorSettings,
    Order,
)

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


_KNOWN = ("prompt", "seed", "out", "folder")


_STDERR_SHOWN = 500  # characters of stderr in the message of a failure


class CommandSettings(GeneratorSettings, frozen=True, kw_only=True):
    """The settings of a generator that runs a program.

    Attributes:
        command: the program and its arguments, which may contain {prompt}, {seed}, {folder} (that of the
            agent's file) and {out} (the file to write; without it the medium is read from stdout).
        stdin: whether the program reads the prompt from stdin.
        seconds: the longest time for one medium.
        megabytes: the largest size of one medium.
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
        self._program = Path(executable).resolve()

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
        if files[0].stat().st_size > self._most:
            raise self._too_large()
        return files[0].read_bytes()

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
            if code == -signal.SIGXFSZ or os.fstat(stdout.fileno()).st_size > self._most:
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
        """The exit code of the program, run with these files as stdin, stdout and stderr.

        All processes that it started are killed when it returns.
        """
        stdin, stdout, stderr = files
        try:
            process = await asyncio.create_subprocess_exec(
                str(self._program),
                *arguments,
                cwd=folder,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # so that its child processes can be killed with it
            )
        except (OSError, ValueError) as error:
            raise GeneratorError(f"{self._program.name} does not start: {error}") from None
        try:
            async with asyncio.timeout(self.settings.seconds):
                _bound_files(process.pid, self._most + 1)
                return await process.wait()
        except TimeoutError:
            seconds = f"{self.settings.seconds:g} s"
            raise GeneratorError(f"{self._program.name} took more than {seconds}") from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    @property
    def _most(self) -> int:
        return int(self.settings.megabytes * 2**20)

    def _too_large(self) -> GeneratorError:
        return GeneratorError(f"{self._program.name} wrote more than {self.settings.megabytes:g} MB")

    def _filled(self, argument: str, values: Mapping[str, str]) -> str:
        placeholders = {"folder": str(self._folder), **values}
        return _PLACEHOLDER.sub(lambda match: placeholders.get(match[1], match[0]), argument)


def _bound_files(pid: int, most: int) -> None:
    """Lets Linux stop a program that writes a file of more than `most` bytes.

    On other systems the size of the file is checked afterwards.
    """
    import resource

    if hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


def _end_of(file: IO[bytes]) -> str:
    """The last words that were written into a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4 * _STDERR_SHOWN))
    return " ".join(file.read().decode(errors="replace").split())[-_STDERR_SHOWN:]
