"""Shared fixtures: the command line in process, and a tiny checkpoint."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from eval_anything.cli.main import main
from tests.support.browsing import Tab, chromium
from tests.support.helpers import Cli, Result
from tests.support.missing import missing
from tests.support.official import write_all
from tests.support.tiny import tiny_llama

pytest_plugins = ["tests.support.quick"]

# The same examples in every run: a change fails for what it did. Others: --hypothesis-profile default.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")

# Libraries keep the stderr of the test that imported them, which is closed in the next one.
logging.raiseExceptions = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler of `--dist loadfile`, for which the files that share servers are one."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            shared = "tests/models/engines/"
            return shared if nodeid.startswith(shared) else super()._split_scope(nodeid)

    return Scheduling(config, log)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What a file leaves behind, such as modules, is not searched for garbage again: it takes 0.5 s."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def no_home_of_a_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs outside of a single test must not touch the user's own data either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAL_ANYTHING_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True, scope="session")
def default_signals() -> None:
    """A script's background job ignores SIGINT, and so would every process that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Verdicts, calibrations and prices of one test are no other's."""
    home = tmp_path / "home"
    monkeypatch.setenv("EVAL_ANYTHING_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_priority_in_real_time() -> Iterator[None]:
    """Codecs may take it, as root; all that a test starts then inherits it, and nothing else runs."""
    yield
    if sys.platform == "linux":
        assert os.sched_getscheduler(0) not in (os.SCHED_FIFO, os.SCHED_RR)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`eval-anything` with these arguments, in this process, from an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVAL_ANYTHING_DEBUG", raising=False)

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Result(code, out, err)

    return run


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries are real; here they are shorter by a factor of 20."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(seconds / 20))


@pytest.fixture(scope="session")
def official_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's data sets in the form in which they are downloaded; not to be changed."""
    return write_all(tmp_path_factory.mktemp("official") / "sets")


@pytest.fixture
def sets(official_sets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with one home for all tests, so that archives are unpacked once."""
    monkeypatch.setenv("EVAL_ANYTHING_HOME", str(official_sets.parent / "home"))
    return official_sets


@pytest.fixture(scope="session")
def torchvision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the torchvision of this torch, which the environment of the tests is without: a
    build for another torch breaks every processor of transformers."""
    import torch

    folder = tmp_path_factory.mktemp("torchvision")
    minor = int(torch.__version__.split(".")[1])
    release = f"torchvision==0.{minor + 15}.*"  # torch 2.0 came with torchvision 0.15
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, release], capture_output=True, text=True)
    if done.returncode != 0:
        missing(f"{release} cannot be installed here: {done.stderr}")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of transformers with random weights; not to be changed."""
    return tiny_llama(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, which lives as long as a module of tests. While it is open its event loop is
    the thread's and no other one can run: what evaluates is done before."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--autoplay-policy=no-user-gesture-required"]
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    """A fresh tab, which must end without an error on its console or a failed request."""
    tab = Tab(browser)
    yield tab
    tab.context.close()
    assert tab.problems == []
