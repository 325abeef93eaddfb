"""A model on another node: its files, its versions, and media that the node does not see."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import MediaPart, Message, Modality, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Request
from eval_anything.models.checked import kept
from eval_anything.models.replicas.base import Answer, Recipe
from eval_anything.models.replicas.model import ModelRecipe
from eval_anything.models.replicas.on_ray.hosted import HostedModel, MissingMedia
from eval_anything.models.replicas.on_ray.parcels import Parcel, bytes_of, packed, unpacked
from eval_anything.sampling import Sampling
from eval_anything.version import __version__
from tests.support.helpers import png


class EchoRecipe(Recipe, frozen=True):
    """A model that answers with the media of the question, and says where it found them."""

    def make(self) -> Answer:
        def answer(requests: Sequence[Request], store: MediaStore) -> list[Response]:
            answers = []
            for request in requests:
                media = [p for p in request.messages[0].parts if isinstance(p, MediaPart)]
                places = " ".join(str(p.path) for p in media if p.path.exists())
                answers.append(kept(Response((TextPart(places), *media)), store))
            return answers

        return answer


def hosted(recipe: Recipe, paths: tuple[str, ...] = (), version: str = __version__) -> HostedModel:
    return HostedModel(pickle.dumps(recipe), paths, version, "10.0.0.7")


def question(path: Path, content: bytes) -> Request:
    sha256 = hashlib.sha256(content).hexdigest()
    medium = MediaPart(Modality.IMAGE, sha256, "image/png", path)
    return Request("mine/demo", "s0", 0, (Message("user", (medium, medium)),), Sampling())


def answered(model: HostedModel, request: Request, store: MediaStore) -> tuple[Response, set[str]]:
    """The answer, and the media that the node asked for."""
    content, media = packed([request])
    reply: Any = model.answer(Parcel(content, {}), False)
    names: set[str] = set()
    if isinstance(reply, MissingMedia):
        names = set(reply.names)
        sent = bytes_of(media[name] for name in names)
        reply = model.answer(Parcel(content, sent), True)
    [response] = unpacked(reply.content, lambda p: store.put(reply.media[p.sha256], p.modality))
    return response, names


def test_media_on_shared_storage_are_read_there(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    store = MediaStore(tmp_path / "store")
    model = hosted(EchoRecipe("echo"))
    response, names = answered(model, question(path, png()), store)
    assert (names, response.text) == (set(), f"{path} {path}")
    medium = response.first(Modality.IMAGE)
    assert medium is not None
    assert medium.path.is_relative_to(store.root)
    assert medium.path.read_bytes() == png()
    other = png((1, 2, 3))
    path.write_bytes(other)  # another file at the path of the medium
    _, names = answered(model, question(path, png()), store)
    assert names == {hashlib.sha256(png()).hexdigest()}
    _, names = answered(model, question(path, other), store)
    assert names == set()


def test_media_that_the_node_does_not_see_come_as_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    request = question(path, png())
    monkeypatch.setattr(HostedModel, "_sees", lambda self, part: False)
    response, names = answered(hosted(EchoRecipe("echo")), request, MediaStore(tmp_path / "store"))
    assert names == {request.messages[0].parts[0].key}
    seen = {Path(word) for word in response.text.split()}
    assert len(seen) == 1
    assert path not in seen
    assert not any(folder.exists() for folder in seen), "it was there for this batch alone"
    path.unlink()  # which this machine cannot read either: the model says so itself
    response, _ = answered(hosted(EchoRecipe("echo")), request, MediaStore(tmp_path / "store"))
    assert response.error is not None


def test_what_a_node_lacks_has_a_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"node 10.0.0.7 does not see /no/such/checkpoint: put it"):
        hosted(EchoRecipe("echo"), paths=(str(tmp_path), "/no/such/checkpoint"))
    with pytest.raises(UserError, match=f"node 10.0.0.7 has eval-anything {__version__}, and the run"):
        hosted(EchoRecipe("echo"), version="0.0.1")
    recipe = ModelRecipe("--model micro", "micro", {}, 4, weights="0" * 64)
    with pytest.raises(UserError, match="--model micro: its weights are others here"):
        hosted(recipe)
