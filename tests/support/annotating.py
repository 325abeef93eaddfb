"""A task with saved answers to annotate, its server on loopback, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from eval_anything.annotate.log import open_log
from eval_anything.annotate.questions import make_questions
from eval_anything.annotate.server import AnnotationServer
from eval_anything.annotate.session import Session
from eval_anything.media import MediaStore
from eval_anything.tasks.load import folder_at, load_task
from tests.support.helpers import make_task, medium_sample, png, text_sample, wav, write_jsonl


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Real requests to the page's server; the headers are those of a browser unless given."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname == "127.0.0.1"
        assert address.port is not None
        self.port = address.port
        self.token = address.path.strip("/")

    def ask(
        self,
        name: str,
        body: Any = None,
        *,
        path: str | None = None,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Asks for `name` below the token, or for a whole path; None as a header leaves it out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Host": f"127.0.0.1:{self.port}"}
        if data is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        sent |= headers or {}
        connection.putrequest(
            method or ("GET" if data is None else "POST"),
            path if path is not None else f"/{self.token}/{name}",
            skip_host=True,
            skip_accept_encoding=True,
        )
        for key, value in sent.items():
            connection.putheader(key, value)
        connection.endheaders(data)
        response = connection.getresponse()
        reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return reply

    def state(self) -> Any:
        return self.ask("state").json

    def submit(self, **answer: Any) -> Reply:
        """An answer to the question that is shown, unless `key` names another."""
        if "key" not in answer:
            answer["key"] = self.state()["question"]["key"]
        return self.ask("submit", answer)


def annotated_task(root: Path, count: int = 3) -> Path:
    """The task mine/demo: prompts with text, one of them with a picture."""
    samples = [text_sample(f"s{i}", f"Question {i}?") for i in range(count)]
    samples[0] = medium_sample("s0", "image", "asked.png")
    return make_task(root, samples=samples, asked__png=png())


def saved_answers(root: Path, name: str, words: str, ids: Sequence[str] = ("s0", "s1", "s2")) -> Path:
    """A file of answers: the words with the id, the first with a sound too."""
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.wav").write_bytes(wav(hertz=300 + len(words)))
    rows: list[dict[str, Any]] = [
        {"sample_id": id_, "parts": [{"modality": "text", "text": f"{words} {id_}"}]} for id_ in ids
    ]
    rows[0]["parts"].append({"modality": "audio", "path": f"{name}.wav"})
    return write_jsonl(root / f"{name}.jsonl", rows)


@contextlib.contextmanager
def serving(
    task: Path,
    log: Path,
    outputs: Sequence[Path] = (),
    against: Path | None = None,
    annotator: str = "ann",
    scale: int = 5,
    seed: int = 0,
) -> Iterator[Client]:
    """The server of a session, in a thread."""
    loaded = load_task(folder_at(task))
    with open_log(log) as held:
        store = MediaStore(log.resolve().parent / "media")
        asked = make_questions(loaded, loaded.samples, outputs, against, store, annotator, seed)
        session = Session(loaded, asked.questions, held, annotator, scale)
        with AnnotationServer(session) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield Client(server.url)
            finally:
                server.shutdown()
                thread.join()
