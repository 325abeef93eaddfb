"""Progress: a bar on a terminal, lines elsewhere, silence with --json."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl

IDS = [f"s{i}" for i in range(30)]


def _command(root: Path) -> list[str]:
    make_task(root, samples=[text_sample(i) for i in IDS])
    outputs = write_jsonl(root / "out.jsonl", answers(IDS))
    return f"score --outputs {outputs} --tasks mine/demo --include {root / 'mine'}".split()


def test_a_terminal_gets_a_bar_with_rate_and_time_left(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eval_anything", *_command(tmp_path)]
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=follower) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                chunk = os.read(leader, 4096)
            except OSError:  # what Linux says when the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        assert process.stdout is not None
        table = process.stdout.read().decode()
    os.close(leader)
    assert process.returncode == 0
    text = shown.decode()
    assert "100%" in text
    assert "30/30" in text
    assert "sample/s" in text
    assert "\r" in text
    assert "selection" in table


def test_elsewhere_lines_and_with_json_silence(cli: Cli, tmp_path: Path) -> None:
    command = _command(tmp_path)
    lines = cli(*command, "--out", "a").err.splitlines()
    assert lines[-1].startswith("30/30 samples, ")
    assert "s left, 0 failed" in lines[-1]
    assert 8 <= len(lines) <= 12
    assert cli(*command, "--out", "b", "--json").err == ""
