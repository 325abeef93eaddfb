"""Cache of the verdicts of judge models: one SQLite file, shared by all processes.

The key is the sha256 of everything that determines a verdict: the judge's model and parameters, the
whole rendered request with the bytes of every medium, and the number of the repetition. Paths and names
of models under evaluation are no part of it. Failures are never cached.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from eval_anything.files.writing import cannot_write

_WAIT = 30.0  # seconds for another process to finish its write


class Verdicts:
    """Persistent cache from key to the text of a verdict; EvalError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                path, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, text TEXT NOT NULL)"
            )
        except (sqlite3.Error, OSError) as error:
            raise _failed(path, error) from None

    def get(self, key: str) -> str | None:
        """Text of a verdict, None if it is not in the cache."""
        row = self._execute("SELECT text FROM verdicts WHERE key = ?", key)
        return row[0] if row is not None else None

    def put(self, key: str, text: str, replace: bool = False) -> None:
        """Stores a verdict; one that the key has already stays, or is replaced."""
        conflict = "REPLACE" if replace else "IGNORE"
        self._execute(f"INSERT OR {conflict} INTO verdicts VALUES (?, ?)", key, text)

    def _execute(self, statement: str, *values: str) -> tuple[str, ...] | None:
        """Executes a statement and returns its first row."""
        with self._lock:
            try:
                row: tuple[str, ...] | None = self._base.execute(statement, values).fetchone()
            except sqlite3.Error as error:
                raise _failed(self.path, error) from None
        return row

    def close(self) -> None:
        """Closes the connection; each `put` is written already."""
        self._base.close()


def _failed(path: Path, error: Exception) -> Exception:
    number = getattr(error, "errno", None) or 0
    return cannot_write(path, OSError(number, str(error)))
