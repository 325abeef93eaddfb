"""Builds the site: reads the runs, reuses pieces of an older site, writes the others.

The same runs give the same bytes, whatever their order and whether or not there is an older site.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.json_text import decode_strict
from eval_anything.files.places import content_folder
from eval_anything.files.reading import MAX_LINES, read_file
from eval_anything.files.writing import write_atomically
from eval_anything.leaderboard.board import Column, cells_of, columns_of, reference_rows
from eval_anything.leaderboard.cards import card, dimensions, latency_of, profile
from eval_anything.leaderboard.chunks import Chunks, split
from eval_anything.leaderboard.media import Media, link
from eval_anything.leaderboard.overview import cost_of, write_scatters
from eval_anything.leaderboard.pages import single_file, write_index
from eval_anything.leaderboard.prompts import Prompts
from eval_anything.leaderboard.read_runs import LeftOut, SiteRun, read_entries
from eval_anything.leaderboard.reference import Reference, read_reference
from eval_anything.leaderboard.samples import TaskSamples, read_rows, write_samples
from eval_anything.leaderboard.site import check_out, is_site, new_site
from eval_anything.leaderboard.trainings import write_trainings
from eval_anything.runs.directory import read_run
from eval_anything.version import __version__

if TYPE_CHECKING:
    import pandas as pd


_MANIFEST = "build.json"


_WITHOUT_SCRIPTS = 200  # rows of the table that needs no scripts


_FIRST_ROWS = 250_000  # bytes of rows that the page gets at once


class CachedPiece(Struct):
    """A piece of a site that does not depend on other pieces: the hash of its sources, the keys of its
    chunks, the paths of its media. `about` holds the numbers that the board needs from it."""

    made_from: str
    keys: list[str]
    files: list[str]
    about: dict[str, Any] = {}


class Manifest(Struct):
    """build.json: the pieces of a site, those of runs by their id, those of prompts by their task, and
    the descriptions of its media by their path."""

    builder: str
    runs: dict[str, CachedPiece] = {}
    prompts: dict[str, CachedPiece] = {}
    media: dict[str, dict[str, Any]] = {}


class Built(NamedTuple):
    """Summary of a build: counts, the runs left out, tasks without prompts, the size in bytes."""

    site: Path
    runs: int
    columns: int
    reused: int
    left_out: list[LeftOut]
    without_prompts: list[str]
    size: int


def build(
    runs: Sequence[Path],
    out: Path,
    *,
    single: bool = False,
    include: Sequence[Path] = (),
    title: str = "",
    about: str = "",
) -> Built:
    """Builds a site of these runs.

    Args:
        runs: run directories, in any order.
        out: the folder of the site, or with `single` the file, if its name ends in .html.
        single: puts the whole site into one file.
        include: folders with further tasks, read for their prompts.
        title: the name of the site; "" for Leaderboard.
        about: a sentence about it, shown at its head.

    Raises:
        UserError: no run can be shown, `out` holds other files, or one file would be too large.
    """
    as_file = single and out.suffix.lower() in (".html", ".htm")
    if as_file:
        _check_file(out)
    else:
        check_out(out)
    entries, left_out = read_entries(runs)
    prompts = Prompts(include)
    words = {"title": title or "Leaderboard", "about": about}
    if single:
        with tempfile.TemporaryDirectory() as folder:
            builder = _Builder(entries, left_out, prompts, Path(folder), None, words)
            page = single_file(Path(folder), builder.write())
        if as_file:
            write_atomically(out, page)
        else:
            with new_site(out) as site:
                (site / "index.html").write_bytes(page)
        return builder.built(out, len(page))
    with new_site(out) as site:
        builder = _Builder(entries, left_out, prompts, site, out, words)
        write_index(site, builder.write())
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    return builder.built(out, size)


def _check_file(out: Path) -> None:
    if out.is_dir():
        raise UserError(f"--out {out} is a directory; with --single-file it should be a file or a site")
    if out.is_file() and not is_site(out):
        raise UserError(f"--out {out} is no page of a leaderboard: choose another name")


class _Builder:
    """One build: first the pieces, new or reused, then the files that depend on all of them."""

    def __init__(
        self,
        entries: Sequence[SiteRun],
        left_out: list[LeftOut],
        prompts: Prompts,
        site: Path,
        old: Path | None,
        words: Mapping[str, str],
    ) -> None:
        self._entries = entries
        self._left_out = left_out
        self._prompts = prompts
        self._site = site
        self._old = old
        self._words = words
        self._chunks = Chunks(site / "data")
        self._before = _old_manifest(old)
        self._media = Media(site, old, self._before.media)
        self._now = Manifest(_builder_digest())
        self._samples: dict[tuple[str, str], TaskSamples] = {}
        self._columns: list[Column] = []
        self._linked: set[str] = set()
        self._reused = 0

    def built(self, site: Path, size: int) -> Built:
        missing = [task for task, piece in self._now.prompts.items() if not piece.about["known"]]
        count = len(self._entries)
        return Built(
            site, count, len(self._columns), self._reused, self._left_out, sorted(missing), size
        )

    def write(self) -> dict[str, Any]:
        """Writes all files but the page itself; returns its table for browsers without scripts."""
        from tqdm import tqdm

        readable = []
        for entry in tqdm(self._entries, "runs", unit="run", leave=False, disable=None):
            try:
                self._add_run(entry)
                readable.append(entry)
            except (UserError, OSError, ValueError, ArithmeticError) as error:  # a damaged record
                reason = str(error).replace(str(entry.path), entry.folder)
                self._left_out.append(LeftOut(entry.folder, reason or type(error).__name__))
        self._entries = readable
        if not readable:
            raise UserError(f"none of these runs can be shown: {self._left_out[0].reason}")
        self._add_prompts()
        reference = read_reference()
        self._columns = columns_of(self._entries, self._samples, self._prompts, reference)
        cells = cells_of(self._entries, self._columns, self._samples)
        by_cell = {(c.run, c.column): c for c in cells.itertuples()}
        self._write_board(cells, by_cell, reference)
        self._write_exports(cells)
        pieces = (*self._now.runs.values(), *self._now.prompts.values())
        self._now.media = self._media.described(name for piece in pieces for name in piece.files)
        manifest = msgspec.json.encode(self._now)
        (self._site / _MANIFEST).write_bytes(manifest)
        return self._table(by_cell)

    # --- pieces --------------------------------------------------------------------------------

    def _add_run(self, entry: SiteRun) -> None:
        made_from = self._prompts.digest(entry.file.tasks)
        before = self._before.runs.get(entry.id)
        if before is not None and before.made_from == made_from and self._take_over(before):
            try:
                for i, task in enumerate(entry.file.tasks):
                    self._samples[entry.id, task] = read_rows(_key(entry, i), self._chunks)
                self._now.runs[entry.id] = before
                self._reused += 1
                return
            except (OSError, ValueError, msgspec.DecodeError):
                pass  # the old site is damaged: the piece is written again
        self._now.runs[entry.id] = self._make_piece(entry, made_from)

    def _make_piece(self, entry: SiteRun, made_from: str) -> CachedPiece:
        piece = CachedPiece(made_from, [], [])
        records = {task: read_run(entry.path, task) for task in entry.file.tasks}
        task_samples: dict[str, TaskSamples] = {}
        for i, (task, task_records) in enumerate(records.items()):
            primary = entry.results.tasks[task].primary
            task_samples[task], keys, files = write_samples(
                task_records, primary, _key(entry, i), self._media, self._chunks
            )
            piece.keys += keys
            piece.files += files
        charts = [*profile(entry, records, self._prompts), *dimensions(entry)]
        self._chunks.write(f"cards/{entry.id}", card(entry, task_samples, charts))
        piece.keys = sorted({*piece.keys, f"cards/{entry.id}"})
        piece.files = sorted(set(piece.files))
        piece.about = {"latency": latency_of(records)}
        self._samples |= {(entry.id, task): samples for task, samples in task_samples.items()}
        return piece

    def _add_prompts(self) -> None:
        items: dict[str, set[str]] = {}
        for (_, task), samples in self._samples.items():
            items.setdefault(task, set()).update(row.item for row in samples.rows)
        for task in sorted(items):
            made_from = sha256_of([self._prompts.digest([task]), sorted(items[task])])
            before = self._before.prompts.get(task)
            if before is not None and before.made_from == made_from and self._take_over(before):
                self._now.prompts[task] = before
                continue
            key = f"prompts/{sha256_of(task)[:12]}"
            prompt_count, keys, files = self._prompts.write(
                task, key, items[task], self._media, self._chunks
            )
            self._now.prompts[task] = CachedPiece(
                made_from, keys, files, {"known": prompt_count, "key": key}
            )

    def _take_over(self, piece: CachedPiece) -> bool:
        """Links a piece's files from the old site; False if one is missing."""
        assert self._old is not None
        names = [*(f"data/{key}.js" for key in piece.keys), *piece.files]
        try:
            for name in names:
                if name not in self._linked:
                    link(self._old / name, self._site / name)
                    self._linked.add(name)
        except FileNotFoundError:
            return False
        return True

    # --- files that depend on all runs ---------------------------------------------------------

    def _write_board(
        self, cells: pd.DataFrame, by_cell: Mapping[tuple[str, str], Any], reference: Reference
    ) -> None:
        names = {entry.id: entry.name for entry in self._entries}
        costs = {
            "seconds an answer (median)": {e.id: self._latency(e) for e in self._entries},
            "money for 1,000 samples": {e.id: cost_of(e) for e in self._entries},
        }
        scatters = write_scatters(cells, self._columns, names, costs, self._chunks)
        trainings = write_trainings(self._entries, cells, self._columns, self._chunks)
        published = reference_rows(reference, self._columns)
        rows = [
            [
                entry.id,
                entry.name,
                entry.folder,
                _short(self._latency(entry)),
                _short(cost_of(entry)),
                [entry.file.tasks, [len(self._samples[entry.id, t].rows) for t in entry.file.tasks]],
                [_cell(by_cell.get((entry.id, column.key))) for column in self._columns],
                entry.results.max_failed,
            ]
            for entry in self._entries
        ]
        board = {
            **self._words,
            "columns": self._columns,
            "published": published,
            "source": [reference.source, reference.url] if published else [],
            "leftOut": self._left_out,
            "prompts": {
                task: piece.about["key"] if piece.about["known"] else ""
                for task, piece in self._now.prompts.items()
            },
            "currency": next(
                (c.currency for e in self._entries if (c := e.results.cost) is not None and c.currency),
                "",
            ),
            "scatters": scatters,
            "trainings": trainings,
        }
        write_board(board, rows, self._chunks)

    def _latency(self, entry: SiteRun) -> float | None:
        latency: float | None = self._now.runs[entry.id].about["latency"]
        return latency

    def _write_exports(self, cells: pd.DataFrame) -> None:
        """leaderboard.csv and leaderboard.json: every cell, for other programs."""
        folders = {e.id: e.folder for e in self._entries}
        names = {e.id: e.name for e in self._entries}
        export = cells.drop(columns=["comparable"]).rename(columns={"run": "id"})
        export.insert(1, "model", export["id"].map(names))
        export.insert(2, "run", export["id"].map(folders))
        (self._site / "leaderboard.json").write_text(export.to_json(orient="records", indent=1), "utf-8")
        for name in ("model", "run", "column", "invalid"):
            export[name] = export[name].map(_no_formula)
        export.to_csv(self._site / "leaderboard.csv", index=False, lineterminator="\n")

    def _table(self, by_cell: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
        """The main columns of the first rows as text, for browsers without scripts."""
        main = [column for column in self._columns if column.main and column.classes]
        rows = [
            [f"{e.name} ({e.folder})", *(_cell_text(by_cell.get((e.id, c.key))) for c in main)]
            for e in self._entries[:_WITHOUT_SCRIPTS]
        ]
        return {
            **self._words,
            "header": [c.key for c in main],
            "rows": rows,
            "count": len(self._entries),
        }


def write_board(board: Mapping[str, Any], rows: Sequence[Any], chunks: Chunks) -> None:
    """Writes chunk `board` with the first rows, which the page shows at once, and the others as
    `board-<i>`."""
    first = next(split(rows, _FIRST_ROWS), [])
    later = list(split(rows[len(first) :]))
    chunks.write("board", {**board, "rows": first, "count": len(rows), "more": len(later)})
    for i, batch in enumerate(later):
        chunks.write(f"board-{i}", batch)


def _key(entry: SiteRun, task: int) -> str:
    return f"runs/{entry.id}/{task}"


def _cell(cell: Any) -> list[Any] | None:
    """[value, low, high, n, failed, rank_low, rank_high, class, invalid] with five significant digits;
    class 0 and an empty reason at the end are left out."""
    if cell is None:
        return None
    fields: list[Any] = [_short(cell.value), _short(cell.low), _short(cell.high)]
    counts = (cell.n, cell.failed, cell.rank_low, cell.rank_high)
    fields += [None if count != count else int(count) for count in counts]
    if cell.group or cell.invalid:
        fields.append(int(cell.group))
    if cell.invalid:
        fields.append(cell.invalid)
    return fields


def _short(number: float | None) -> float | None:
    return None if number is None or number != number else float(f"{number:.5g}")


def _cell_text(cell: Any) -> str:
    if cell is None:
        return ""
    if cell.value != cell.value:
        return f"INVALID: {cell.invalid}" if cell.invalid else "unscored"
    return f"{cell.value:.3f} ({cell.low:.3f} to {cell.high:.3f})"


def _no_formula(text: str) -> str:
    """The text, quoted if a spreadsheet would read it as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _old_manifest(old: Path | None) -> Manifest:
    """Manifest of the old site; an empty one if there is none, or if other code built it."""
    empty = Manifest("")
    if old is None:
        return empty
    try:
        manifest = decode_strict(read_file(old / _MANIFEST, MAX_LINES), Manifest)
    except (OSError, msgspec.DecodeError):
        return empty
    return manifest if manifest.builder == _builder_digest() else empty


def _builder_digest() -> str:
    """A sha256 that changes with the code that writes the pieces."""
    digest = hashlib.sha256(__version__.encode())
    for folder in (Path(__file__).parent, content_folder("leaderboard")):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()
