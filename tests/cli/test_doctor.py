"""`doctor` tells what is there, and of a key only whether it is set."""

from __future__ import annotations

import pytest

from tests.support.helpers import Cli

SECRET = "sk-never-to-be-shown-0123456789"


def test_doctor_tells_what_is_there_and_no_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://user:{SECRET}@localhost/v1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    as_json, text = cli("doctor", "--json"), cli("doctor")
    assert (as_json.code, text.code) == (0, 0)
    for result in (as_json, text):
        assert "never-to-be" not in result.out + result.err
    found = as_json.json
    assert found["keys"] == {"OPENAI_API_KEY": True, "OPENAI_BASE_URL": True, "HF_TOKEN": False}
    assert found["packages"]["msgspec"]
    assert found["extras"]["test"]["missing"] == []
    assert found["devices"][0].startswith("cpu (")
    assert "OPENAI_API_KEY set" in text.out
    assert "HF_TOKEN not set" in text.out
