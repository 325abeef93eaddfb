"""Data sets in the layout and with the field names of the paper's, with rows and media made here."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.helpers import mp4, png, wav

AMU, SELECTION, FOLLOWING = (
    "EvalAnything-AMU",
    "EvalAnything-Selection_Synergy",
    "EvalAnything-InstructionFollowing",
)
DIMENSIONS = {"perception": 74, "reasoning": 60, "instruction-following": 10, "safety": 20}
VOTES: list[dict[str, float]] = [
    {"t": 0.04, "i": 0.08, "a": 0.0, "ta": 0.08, "ti": 0.52, "ia": 0.0, "tia": 0.28},
    {"t": 0.6, "i": 0.0, "a": 0.04, "ta": 0.12, "ti": 0.2, "ia": 0.0, "tia": 0.04},
    {"t": 0.0, "i": 0.0, "a": 0.44, "ta": 0.44, "ti": 0.0, "ia": 0.04, "tia": 0.08},
]
"""Of item n are those at n modulo 3. Most votes: ti, t, a (which has as many as ta)."""
QUESTIONS = 2


def amu_rows() -> list[dict[str, Any]]:
    """164 rows of config.json; every tenth has a clip for a picture."""
    rows = []
    for dimension, count in DIMENSIONS.items():
        for number in range(count):
            visual = f"visual/{len(rows):03}.{'mp4' if number % 10 == 9 else 'png'}"
            rows.append(
                {
                    "question_id": len(rows),
                    "question": f"What is to be seen and heard in item {len(rows)}?",
                    "visual_modality_path": visual,
                    "auditory_modality_path": f"auditory/{len(rows):03}.wav",
                    "evaluation_dimension": dimension,
                    "annotations": [
                        {
                            "answer": f"Answer {one} to item {len(rows)}.",
                            "keywords": {"visual": ["a square", f"v{one}"], "auditory": [f"a{one}"]},
                        }
                        for one in range(10)
                    ],
                }
            )
    return rows


def amu_media() -> dict[str, dict[str, bytes]]:
    """The members of both archives, by the name of the archive."""
    clip = mp4()
    rows = amu_rows()
    visual = {
        row["visual_modality_path"]: clip
        if row["visual_modality_path"].endswith("mp4")
        else png((number, 255 - number, 40), 8)
        for number, row in enumerate(rows)
    }
    auditory = {
        row["auditory_modality_path"]: wav(0.05, hertz=200 + number) for number, row in enumerate(rows)
    }
    return {"visual": visual, "auditory": auditory}


def write_tar(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """A compressed archive with these files; a TarInfo is taken as it is."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def write_amu(folder: Path, rows: Any = None) -> Path:
    """EvalAnything-AMU as it is downloaded."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(amu_rows() if rows is None else rows))
    for name, members in amu_media().items():
        write_tar(folder / f"{name}.tar.gz", members)
    (folder / "EvalAnything-AMU.py").write_text("raise SystemExit('a loader script was run')\n")
    return folder


def selection_rows() -> list[dict[str, Any]]:
    return [
        {"instruction_uid": f"u{n:03}", "instruction": f"Explain thing {n}.", "selection": VOTES[n % 3]}
        for n in range(100)
    ]


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def write_selection(folder: Path, rows: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """EvalAnything-Selection_Synergy as it is downloaded."""
    found = selection_rows() if rows is None else rows
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", found)
    return folder


def following_rows(modality: str) -> list[dict[str, Any]]:
    prompts: list[dict[str, Any]] = [
        {"prompt_id": f"{modality}{n:03}", "prompt": f"Make {modality} number {n}."} for n in range(100)
    ]
    if modality in ("text", "image"):
        return prompts
    return [
        {
            **prompt,
            "question_id": f"{prompt['prompt_id']}-{q}",
            "question": f"What is thing {q} of {prompt['prompt_id']}?",
            "choice": "A. a dog\nB. a cat\nC. a bird\nD. nothing of these",
            "answer": "ABCD"[q],
        }
        for q in range(QUESTIONS)
        for prompt in prompts  # the questions of a prompt do not stand together
    ]


def write_following(folder: Path) -> Path:
    """EvalAnything-InstructionFollowing as it is downloaded."""
    for modality in ("text", "image", "audio", "video"):
        config = folder / f"{modality}_instruct"
        write_parquet(config / "test-00000-of-00001.parquet", following_rows(modality))
    return folder


def write_all(root: Path) -> Path:
    """All three sets side by side."""
    write_amu(root / AMU)
    write_selection(root / SELECTION)
    write_following(root / FOLLOWING)
    return root
