"""A local program as a generator: espeak-ng, a synthesiser, a script. Never through a shell."""

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
    GeneratorError,
    GeneratorSettings,
    Order,
    Place,
)

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


_KNOWN = ("prompt", "seed", "out", "folder")


_SHOWN = 500  # characters of stderr in a failure


class CommandSettings(GeneratorSettings, frozen=True, kw_only=True):
    """A program and its arguments.

    Arguments may hold {prompt}, {seed}, {out} (the file to write; without it the medium is what the
    program writes to stdout) and {folder} (that of the agent's file). `stdin: true` sends the prompt
    there. `seconds` and `megabytes` bound one medium; `concurrency` how many are made at once.
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
    """Runs the program once for each medium, in an empty folder of its own."""

    settings_type = CommandSettings

    def __init__(self, settings: GeneratorSettings, place: Place) -> None:
        assert isinstance(settings, CommandSettings)
        self.settings = settings
        self.concurrency = settings.concurrency
        self._folder = place.folder
        name = settings.command[0].replace("{folder}", str(place.folder))
        beside = place.folder / name  # a path relative to the file, if it is no bare name
        found = shutil.which(beside if os.sep in name else name)
        if found is None:
            raise UserError(f"{place.name}: there is no program {name!r}: install it, or give its path")
        self._program = Path(found).resolve()

    def weights(self) -> str:
        """Of the program, and of the files that its arguments name."""
        arguments = [self._filled(argument, {}) for argument in self.settings.command[1:]]
        files = [Path(argument) for argument in arguments if os.sep in argument]
        return sha256_of([hash_files([self._program]), *(hash_files([f]) for f in files if f.is_file())])

    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        return [await self._one(order) for order in orders]

    async def _one(self, order: Order) -> bytes:
        with tempfile.TemporaryDirectory(prefix="eval-anything-") as folder:
            prompt = order.prompt.replace("\0", " ")  # no argument can hold it
            values = {"prompt": prompt, "seed": str(order.seed), "out": str(Path(folder) / "out")}
            arguments = [self._filled(argument, values) for argument in self.settings.command[1:]]
            said = await self._run(arguments, folder, prompt.encode() if self.settings.stdin else None)
            if not any("{out}" in argument for argument in self.settings.command):
                return said
            return self._written(Path(folder))

    def _written(self, folder: Path) -> bytes:
        """The one file `out`, or `out` with an ending."""
        files = [path for path in sorted(folder.glob("out*")) if path.is_file()]
        if len(files) != 1:
            found = ", ".join(path.name for path in files) or "nothing"
            raise GeneratorError(f"{self._program.name} wrote {found} instead of one file")
        if files[0].stat().st_size > self._most:
            raise self._too_large()
        return files[0].read_bytes()

    async def _run(self, arguments: Sequence[str], folder: str, given: bytes | None) -> bytes:
        """stdout of the program. GeneratorError if it fails, writes too much or takes too long."""
        # Files, not pipes: one that is not read to its end keeps the `wait` for a killed program open.
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            stdin.write(given or b"")
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
        """Of the program with these as stdin, stdout, stderr; it and what it started have ended then."""
        stdin, stdout, stderr = files
        try:
            process = await asyncio.create_subprocess_exec(
                str(self._program),
                *arguments,
                cwd=folder,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # so that what it starts ends with it
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
        known = {"folder": str(self._folder), **values}
        return _PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), argument)


def _bound_files(pid: int, most: int) -> None:
    """Linux stops a program that writes a larger file; elsewhere the file is measured afterwards."""
    import resource

    if hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


def _end_of(file: IO[bytes]) -> str:
    """The last words that were written into a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4 * _SHOWN))
    return " ".join(file.read().decode(errors="replace").split())[-_SHOWN:]
