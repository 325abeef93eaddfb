"""Media files: the part for a file, and a folder that stores each medium once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from eval_anything.content import MediaPart, Modality
from eval_anything.files.reading import open_file, read_file
from eval_anything.files.writing import write_atomically
from eval_anything.media.kinds import checked_kind
from eval_anything.media.limits import MAX_BYTES
from eval_anything.media.sniff import EXTENSIONS, MediaError


def media_part(path: Path, modality: Modality) -> MediaPart:
    """The part for a file, which stays where it is. MediaError if its bytes are of another modality, or
    of another kind than its name claims."""
    kind = checked_kind(path, modality, str(path))
    claimed = EXTENSIONS.get(path.suffix.lower().lstrip("."))
    if claimed is not None and not kind.is_named(claimed):
        raise MediaError(f"{path} is named like {claimed}, but its bytes are {kind.mime}")
    try:
        with open_file(path, MAX_BYTES) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from None
    return MediaPart(modality, sha256, kind.mime, path.absolute())


def medium_bytes(path: Path) -> bytes:
    """The bytes of a medium's file. OSError if it is no regular file, too large, or cannot be read."""
    return read_file(path, MAX_BYTES)


class MediaStore:
    """A folder that stores each medium once, at `<aa>/<sha256>.<ext>`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def put(self, content: bytes, modality: Modality) -> MediaPart:
        """Stores a medium, atomically and only once. MediaError if it is not of that modality."""
        kind = checked_kind(content, modality, f"the {modality} of the response")
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.root / sha256[:2] / f"{sha256}.{kind.extension}"
        if not path.exists():
            write_atomically(path, content, beside=path.parent)  # one folder to clear after a kill
        return MediaPart(modality, sha256, kind.mime, path)

    def keep(self, part: MediaPart) -> MediaPart:
        """The part with its file in this store, copied if it was elsewhere. MediaError if unreadable."""
        if part.path.is_relative_to(self.root):
            return part
        try:
            return self.put(medium_bytes(part.path), part.modality)
        except OSError as error:
            raise MediaError(f"the {part.modality} of the response cannot be read: {error}") from None
