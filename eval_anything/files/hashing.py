"""sha256 of JSON values, of files, and of several hashes together; seeds from words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.files.reading import open_file


def sha256_of(value: Any) -> str:
    """sha256 (hex) of the value's canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def combined(*hashes: str) -> str:
    """sha256 (hex) over several hashes, in order."""
    return hashlib.sha256("+".join(hashes).encode()).hexdigest()


def hash_files(paths: Sequence[Path]) -> str:
    """sha256 (hex) over names and bytes of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(path.name.encode() + b"\0")
        with open_file(path) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def seed_of(*words: str | int) -> int:
    """A 63-bit seed that the words alone decide, the same in every process."""
    key = "\0".join(map(str, words))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
