"""Kinds of whole files: by the first bytes and, of a container of sounds or clips, by the streams in it.

Neither a brand nor a name says what is in MP4, WebM, Ogg or ASF: phones and browsers write sound alone
as if it were a clip. The streams are read in a child process, like all that is decoded; those of a
plain MP4 stand in its boxes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from eval_anything.content import Modality
from eval_anything.media.boxes import modality_by_boxes
from eval_anything.media.pool import pool
from eval_anything.media.sniff import (
    FORMATS,
    Kind,
    MediaError,
    check_readable,
    format_name,
    head_of,
    kind_of_file,
    sniff,
)


def kind_of(path: Path) -> Kind:
    """The kind of a file, by its streams where they decide. MediaError for an unknown or empty one."""
    kind = kind_of_file(path)
    return _by_streams(path, kind) or kind


def true_modality(source: Path | bytes, claimed: Modality) -> Modality:
    """The modality of a container of sounds or clips; `claimed` for all other files, and broken ones."""
    try:
        kind = sniff(source) if isinstance(source, bytes) else kind_of_file(source)
    except MediaError:
        return claimed
    kind = _by_streams(source, kind) if kind is not None and kind.is_either else None
    return claimed if kind is None else kind.modality


def checked_kind(source: Path | bytes, modality: Modality, where: str) -> Kind:
    """The kind of a file or of a file's bytes. MediaError, which begins with `where`, if it is unknown
    or of another modality.

    A container whose streams cannot be read counts as what it should be: its decoder says what is wrong.
    """
    head = source if isinstance(source, bytes) else head_of(source)
    if not head:
        raise MediaError(f"{where} is empty")
    kind = sniff(head)
    if kind is None:
        raise MediaError(
            f"{where} is not a known {modality} format ({format_name(head)}); known are "
            f"{FORMATS[modality]}"
        )
    if kind.is_either and modality in (Modality.AUDIO, Modality.VIDEO):
        kind = _by_streams(source, kind) or kind.holding(modality)
    if kind.modality is not modality:
        reason = ""
        if kind.is_either:
            reason = ": it has pictures" if kind.modality is Modality.VIDEO else ": it has no pictures"
        raise MediaError(f"{where} should be {modality}, but its bytes are {kind.mime}{reason}")
    check_readable(kind, where)
    return kind


def _by_streams(source: Path | bytes, kind: Kind) -> Kind | None:
    """The kind by the streams in it, None if they cannot be read."""
    if not kind.is_either:
        return kind
    if kind.container == "mp4" and (modality := modality_by_boxes(source)) is not None:
        return kind.holding(modality)
    if isinstance(source, bytes):
        with tempfile.NamedTemporaryFile() as file:
            file.write(source)
            file.flush()
            return _by_streams(Path(file.name), kind)
    try:
        return kind.holding(Modality(pool().decode("streams", source).answer["modality"]))
    except MediaError:
        return None
