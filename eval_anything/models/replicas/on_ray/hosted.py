"""A model in the process of an actor: it answers parcels, and keeps no files from one to the next."""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eval_anything.content import MediaPart
from eval_anything.errors import UserError
from eval_anything.files.reading import open_file
from eval_anything.media import MediaStore
from eval_anything.media.limits import MAX_BYTES
from eval_anything.models.replicas.base import Recipe
from eval_anything.models.replicas.on_ray.parcels import Parcel, bytes_of, packed, unpacked
from eval_anything.version import __version__


class MissingMedia(NamedTuple):
    """Media of a batch that the node does not see, by sha256: the batch is to come again with them."""

    names: frozenset[str]


class HostedModel:
    """A model that is made on this node.

    Args:
        recipe: the pickle of its recipe.
        paths: the paths that it reads.
        version: that of eval-anything where the run is.
        node: the name of this node, for messages.

    Raises:
        UserError: this node lacks something; the message says what.
    """

    def __init__(self, recipe: bytes, paths: tuple[str, ...], version: str, node: str) -> None:
        if version != __version__:
            raise UserError(
                f"node {node} has eval-anything {__version__}, and the run has {version}: "
                "install the same"
            )
        unseen = [path for path in paths if not Path(path).exists()]
        if unseen:
            raise UserError(
                f"node {node} does not see {', '.join(unseen)}: put it where all nodes have it at the "
                "same path, or name a checkpoint of the hub (hf/ID)"
            )
        unpickled: Recipe = pickle.loads(recipe)
        self._answer = unpickled.make()
        self._seen: dict[Path, tuple[int, int, str]] = {}

    def answer(self, parcel: Parcel, complete: bool) -> Parcel | MissingMedia:
        """The answers to a batch.

        Args:
            parcel: the batch, with the media that this node is known to lack.
            complete: whether more media cannot be had, so that the model is asked without them.
        """
        with tempfile.TemporaryDirectory(prefix="eval-anything-") as name:
            folder = Path(name)
            missing: set[str] = set()

            def local(part: MediaPart) -> MediaPart:
                if part.sha256 in parcel.media:
                    path = folder / f"{part.sha256}{part.path.suffix}"
                    path.write_bytes(parcel.media[part.sha256])
                    return msgspec.structs.replace(part, path=path)
                if not self._sees(part):
                    missing.add(part.sha256)
                return part

            batch = unpacked(parcel.content, local)
            if missing and not complete:
                return MissingMedia(frozenset(missing))
            answers: Any = self._answer(batch, MediaStore(folder / "answers"))
            content, media = packed(answers)
            return Parcel(content, bytes_of(media.values()))

    def _sees(self, part: MediaPart) -> bool:
        """Whether the file of a medium is here, with the same bytes."""
        try:
            status = part.path.stat()
            version = status.st_size, status.st_mtime_ns
            if self._seen.get(part.path, ())[:2] != version:
                with open_file(part.path, MAX_BYTES) as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                self._seen[part.path] = (*version, sha256)
        except OSError:
            return False
        return self._seen[part.path][2] == part.sha256
