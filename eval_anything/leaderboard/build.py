"""Builds the site: reads the runs, keeps what an older site has of them, writes the rest.

The same runs give the same bytes, in whatever order they are named and whatever was there before.
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
from eval_anything.files.places import content_folder
from eval_anything.files.writing import write_atomically
from eval_anything.leaderboard.board import Column, cells_of, columns_of, reference_rows
from eval_anything.leaderboard.cards import card, dimensions, latency_of, profile
from eval_anything.leaderboard.chunks import Chunks, split
from eval_anything.leaderboard.media import Media, link
from eval_anything.leaderboard.overview import cost_of, write_histories, write_scatters
from eval_anything.leaderboard.pages import single_file, write_index
from eval_anything.leaderboard.prompts import Prompts
from eval_anything.leaderboard.read_runs import LeftOut, SiteRun, read_entries
from eval_anything.leaderboard.reference import Reference, read_reference
from eval_anything.leaderboard.samples import TaskSamples, read_rows, write_samples
from eval_anything.leaderboard.site import check_out, is_site, new_site
from eval_anything.runs.directory import read_run
from eval_anything.version import __version__

if TYPE_CHECKING:
    import pandas as pd


_MANIFEST = "build.json"


_WITHOUT_SCRIPTS = 200  # rows of the table that needs no scripts


_FIRST_ROWS = 250_000  # bytes of rows that the page gets at once


class CachedPiece(Struct):
    """A piece of a site that does not depend on the rest: what it was made from, the keys of its
    chunks, its files of media. `about` is what the rest of the site needs of it."""

    made_from: str
    keys: list[str]
    files: list[str]
    about: dict[str, Any] = {}


class Manifest(Struct):
    """build.json: the pieces of a site, those of runs by their id, those of prompts by their task, and
    what is known of its media by their path."""

    builder: str
    runs: dict[str, CachedPiece] = {}
    prompts: dict[str, CachedPiece] = {}
    media: dict[str, dict[str, Any]] = {}


class Built(NamedTuple):
    """What a build came to, for the command."""

    site: Path
    runs: int
    columns: int
    reused: int
    left_out: list[LeftOut]
    without_prompts: list[str]
    size: int


def build(
    runs: Sequence[Path], out: Path, *, single: bool = False, include: Sequence[Path] = ()
) -> Built:
    """Builds a site of these runs at `out`: a folder; with `single` one file, if `out` ends in .html.

    UserError if no run can be shown, `out` holds something else, or one file would be too large.
    """
    as_file = single and out.suffix.lower() in (".html", ".htm")
    if as_file:
        _check_file(out)
    else:
        check_out(out)
    entries, left_out = read_entries(runs)
    prompts = Prompts(include)
    if single:
        with tempfile.TemporaryDirectory() as folder:
            builder = _Builder(entries, left_out, prompts, Path(folder), None)
            data = single_file(Path(folder), builder.write())
        if as_file:
            write_atomically(out, data)
        else:
            with new_site(out) as site:
                (site / "index.html").write_bytes(data)
        return builder.built(out, len(data))
    with new_site(out) as site:
        builder = _Builder(entries, left_out, prompts, site, out)
        write_index(site, builder.write())
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    return builder.built(out, size)


def _check_file(out: Path) -> None:
    if out.is_dir():
        raise UserError(f"--out {out} is a directory; with --single-file it should be a file or a site")
    if out.is_file() and not is_site(out):
        raise UserError(f"--out {out} is no page of a leaderboard: choose another name")


class _Builder:
    """One build: the pieces are made or taken over first, then what depends on all of them."""

    def __init__(
        self,
        entries: Sequence[SiteRun],
        left_out: list[LeftOut],
        prompts: Prompts,
        site: Path,
        old: Path | None,
    ) -> None:
        self._entries = entries
        self._left_out = left_out
        self._prompts = prompts
        self._site = site
        self._old = old
        self._chunks = Chunks(site / "data")
        self._before = _manifest(old)
        self._media = Media(site, old, self._before.media)
        self._now = Manifest(_builder_digest())
        self._samples: dict[tuple[str, str], TaskSamples] = {}
        self._columns: list[Column] = []
        self._linked: set[str] = set()
        self._reused = 0

    def built(self, site: Path, size: int) -> Built:
        missing = [task for task, kept in self._now.prompts.items() if not kept.about["known"]]
        count = len(self._entries)
        return Built(
            site, count, len(self._columns), self._reused, self._left_out, sorted(missing), size
        )

    def write(self) -> dict[str, Any]:
        """Everything but the page itself; what that shows without scripts."""
        from tqdm import tqdm

        kept = []
        for entry in tqdm(self._entries, "runs", unit="run", leave=False, disable=None):
            try:
                self._add_run(entry)
                kept.append(entry)
            except UserError as error:  # a damaged record
                why = str(error).replace(str(entry.path), entry.folder)
                self._left_out.append(LeftOut(entry.folder, why))
        self._entries = kept
        if not kept:
            raise UserError(f"none of these runs can be shown: {self._left_out[0].why}")
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
                pass  # the old site is damaged: the run is read anew
        self._now.runs[entry.id] = self._written(entry, made_from)

    def _written(self, entry: SiteRun, made_from: str) -> CachedPiece:
        kept = CachedPiece(made_from, [], [])
        records = {task: read_run(entry.path, task) for task in entry.file.tasks}
        own: dict[str, TaskSamples] = {}
        for i, (task, found) in enumerate(records.items()):
            primary = entry.results.tasks[task].primary
            own[task], keys, files = write_samples(
                found, primary, _key(entry, i), self._media, self._chunks
            )
            kept.keys += keys
            kept.files += files
        charts = [*profile(entry, records, self._prompts), *dimensions(entry)]
        self._chunks.write(f"cards/{entry.id}", card(entry, own, charts))
        kept.keys = sorted({*kept.keys, f"cards/{entry.id}"})
        kept.files = sorted(set(kept.files))
        kept.about = {"latency": latency_of(records)}
        self._samples |= {(entry.id, task): found for task, found in own.items()}
        return kept

    def _add_prompts(self) -> None:
        items: dict[str, set[str]] = {}
        for (_, task), found in self._samples.items():
            items.setdefault(task, set()).update(row.item for row in found.rows)
        for task in sorted(items):
            made_from = sha256_of([self._prompts.digest([task]), sorted(items[task])])
            before = self._before.prompts.get(task)
            if before is not None and before.made_from == made_from and self._take_over(before):
                self._now.prompts[task] = before
                continue
            key = f"prompts/{sha256_of(task)[:12]}"
            known, keys, files = self._prompts.write(task, key, items[task], self._media, self._chunks)
            self._now.prompts[task] = CachedPiece(made_from, keys, files, {"known": known, "key": key})

    def _take_over(self, piece: CachedPiece) -> bool:
        """Links a piece's files from the old site; False if one is gone."""
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

    # --- what depends on all runs --------------------------------------------------------------

    def _write_board(
        self, cells: pd.DataFrame, by_cell: Mapping[tuple[str, str], Any], reference: Reference
    ) -> None:
        names = {entry.id: entry.name for entry in self._entries}
        takes = {
            "seconds an answer (median)": {e.id: self._latency(e) for e in self._entries},
            "money for 1,000 samples": {e.id: cost_of(e) for e in self._entries},
        }
        scatters = write_scatters(cells, self._columns, names, takes, self._chunks)
        histories = write_histories(self._entries, cells, self._columns, self._chunks)
        rows = [
            [
                entry.id,
                entry.name,
                entry.folder,
                _short(self._latency(entry)),
                _short(cost_of(entry)),
                [entry.file.tasks, [len(self._samples[entry.id, t].rows) for t in entry.file.tasks]],
                [_cell(by_cell.get((entry.id, column.key))) for column in self._columns],
            ]
            for entry in self._entries
        ]
        board = {
            "columns": self._columns,
            "published": reference_rows(reference, self._columns),
            "source": [reference.source, reference.url],
            "leftOut": self._left_out,
            "prompts": {
                t: k.about["key"] if k.about["known"] else "" for t, k in self._now.prompts.items()
            },
            "currency": next(
                (c.currency for e in self._entries if (c := e.results.cost) is not None and c.currency),
                "",
            ),
            "scatters": scatters,
            "histories": histories,
        }
        write_board(board, rows, self._chunks)

    def _latency(self, entry: SiteRun) -> float | None:
        found: float | None = self._now.runs[entry.id].about["latency"]
        return found

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
            [f"{e.name} ({e.folder})", *(_words(by_cell.get((e.id, c.key))) for c in main)]
            for e in self._entries[:_WITHOUT_SCRIPTS]
        ]
        return {"header": [c.key for c in main], "rows": rows, "count": len(self._entries)}


def write_board(board: Mapping[str, Any], rows: Sequence[Any], chunks: Chunks) -> None:
    """`board` with the first rows, so that the page shows these at once, and `board-<i>`, the rest."""
    first = next(split(rows, _FIRST_ROWS), [])
    rest = list(split(rows[len(first) :]))
    chunks.write("board", {**board, "rows": first, "count": len(rows), "more": len(rest)})
    for i, part in enumerate(rest):
        chunks.write(f"board-{i}", part)


def _key(entry: SiteRun, task: int) -> str:
    return f"runs/{entry.id}/{task}"


def _cell(cell: Any) -> list[Any] | None:
    """[value, low, high, n, failed, rank_low, rank_high, class, invalid]; the last two if they say
    anything. Five significant digits."""
    if cell is None:
        return None
    found: list[Any] = [_short(cell.value), _short(cell.low), _short(cell.high)]
    counts = (cell.n, cell.failed, cell.rank_low, cell.rank_high)
    found += [None if count != count else int(count) for count in counts]
    if cell.group or cell.invalid:
        found.append(int(cell.group))
    if cell.invalid:
        found.append(cell.invalid)
    return found


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else float(f"{value:.5g}")


def _words(cell: Any) -> str:
    if cell is None:
        return ""
    if cell.value != cell.value:
        return f"INVALID: {cell.invalid}" if cell.invalid else "unscored"
    return f"{cell.value:.3f} ({cell.low:.3f} to {cell.high:.3f})"


def _no_formula(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _manifest(old: Path | None) -> Manifest:
    """Of the old site; an empty one if there is none, or another version of the code built it."""
    empty = Manifest("")
    if old is None:
        return empty
    try:
        found = msgspec.json.decode((old / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return empty
    return found if found.builder == _builder_digest() else empty


def _builder_digest() -> str:
    """Changes with the code that writes the pieces."""
    digest = hashlib.sha256(__version__.encode())
    for folder in (Path(__file__).parent, content_folder("leaderboard")):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()
