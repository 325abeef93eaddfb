"""Media as real programs write them: each reader returns what ffmpeg reads, or refuses it by name."""

from __future__ import annotations

import shutil

import pytest

from tests.media.corpus.readers import WRONG, Outcome
from tests.media.corpus.report import PAGE, bounds_table, counts_table, read_all, whole_corpus
from tests.media.corpus.sample import SAMPLE
from tests.media.corpus.specimen import ALWAYS, LANE, Specimen
from tests.support.lanes import full, only_in
from tests.support.missing import missing

CORPUS = [specimen for specimen in whole_corpus() if full("corpus") or specimen.name in SAMPLE]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Outcome]]:
    """The outcomes of all readers by the name of the file."""
    programs = LANE if full("corpus") else ALWAYS
    if absent := [program for program in programs if shutil.which(program) is None]:
        lane = "corpus" if full("corpus") else "test"
        missing(f"not installed: {', '.join(absent)}. As root, make {lane} installs them")
    every = read_all(CORPUS, tmp_path_factory.mktemp("corpus"))
    return {specimen.name: files for specimen, files in zip(CORPUS, every, strict=True)}


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.timeout(1800)  # on a busy machine all files take many minutes
@pytest.mark.parametrize("specimen", CORPUS, ids=lambda specimen: specimen.name)
def test_a_file_is_read_as_it_is(results: dict[str, list[Outcome]], specimen: Specimen) -> None:
    assert [outcome for outcome in results[specimen.name] if outcome.state == WRONG] == []


@pytest.mark.corpus
@only_in("corpus")
def test_the_page_counts_what_is_read(results: dict[str, list[Outcome]]) -> None:
    counts = counts_table(outcome for files in results.values() for outcome in files)
    assert counts in PAGE.read_text("utf-8"), f"python -m tests.media.corpus.report\n{counts}"


def test_the_page_states_the_bounds_and_the_size_of_the_corpus() -> None:
    page = PAGE.read_text("utf-8")
    names = [specimen.name for specimen in whole_corpus()]
    assert len(names) == len(set(names))
    assert set(names) >= SAMPLE
    assert f"writes {len(names)} files" in page
    assert f"of {len(SAMPLE)} of them" in page
    assert bounds_table() in page
