"""Kind `reward_model`: a scalar head on a checkpoint of transformers, whose sigmoid is the value.

Metrics named like pairs of modalities (`text_image`) score the two parts of that pair alone, all on one
scale, and `synergy` is their mean; otherwise there is one metric, on the whole response. A checkpoint of
the micro world reads all modalities as tokens; any other is a text reward model. The model runs in one
thread, on batches of what is waiting. No code of a checkpoint is run.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from eval_anything.content import (
    MODALITIES,
    MediaPart,
    Message,
    Modality,
    Part,
    Response,
    Sample,
    Score,
    TextPart,
    path_inside,
)
from eval_anything.errors import EvalError, UserError
from eval_anything.judges import JudgeFile, JudgeFolder
from eval_anything.models.base import hash_files
from eval_anything.models.checkpoint import check_complete, weight_files
from eval_anything.scorers import guard
from eval_anything.scorers.assemble import NoModel
from eval_anything.scorers.base import Scorer
from eval_anything.tasks.task import Metric, sha256_of

OVERALL = "synergy"
"""The metric that is the mean over the pairs."""

_BATCH = 32
_PATIENCE = 0.005  # seconds that the first of a batch waits for others
_PAIRS = {f"{one}_{other}": (one, other) for one, other in permutations(MODALITIES, 2)}


class UnreadableError(ValueError):
    """What this judge cannot be shown; the message says why."""


class NothingShownError(UnreadableError):
    """The response has a part that shows nothing of the judge's world: it is to blame."""


class Question(NamedTuple):
    """A prompt, and the parts of a response that are judged together."""

    messages: Sequence[Message]
    parts: Sequence[Part]


class Opinion(NamedTuple):
    """How good (0..1), None if the judge cannot tell. `scalar` is None if the model was not asked."""

    quality: float | None
    reason: str = ""
    scalar: float | None = None


# --- what the model reads ------------------------------------------------------------------------


class Reader(Protocol):
    """Turns a question into token ids."""

    sees: frozenset[Modality]
    files: tuple[str, ...]

    def load(self, path: Path) -> None:
        """Reads what it needs from the checkpoint. Any exception says that this is not possible."""

    def ids(self, question: Question) -> list[int]:
        """The token ids. UnreadableError if there are none."""


class MicroReader:
    """For checkpoints of the micro world: prompt, parts and <eos> in its one vocabulary."""

    sees = frozenset(MODALITIES)
    files: tuple[str, ...] = ("codec.json",)

    def load(self, path: Path) -> None:
        from eval_anything.micro.vocabulary import check_description

        check_description(path)

    def ids(self, question: Question) -> list[int]:
        from eval_anything.micro import codec

        try:
            prompt = codec.encode_prompt(question.messages)
        except ValueError as error:
            raise UnreadableError(f"the judge cannot read the prompt: {error}") from None
        try:
            return prompt + codec.encode_response(question.parts)
        except ValueError as error:
            # Where a file lies is no part of what is wrong with it, and differs from run to run.
            reason = str(error)
            for part in question.parts:
                if isinstance(part, MediaPart):
                    reason = reason.replace(str(part.path), f"the {part.modality}")
            raise NothingShownError(f"a part that shows nothing: {reason}") from None


class TextReader:
    """For text reward models: prompt and response in the tokenizer's chat template."""

    sees = frozenset({Modality.TEXT})
    files: tuple[str, ...] = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

    def __init__(self) -> None:
        self._tokenizer: Any = None

    def load(self, path: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)

    def ids(self, question: Question) -> list[int]:
        turns = [_turn(m.role, m.parts) for m in question.messages]
        turns.append(_turn("assistant", question.parts))
        if not self._tokenizer.chat_template:
            return list(self._tokenizer("\n\n".join(turn["content"] for turn in turns))["input_ids"])
        try:
            return list(self._tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"])
        except Exception as error:  # a template may raise anything, for a role that it does not know
            raise UnreadableError(f"the chat template refuses this conversation: {error}") from None


def _turn(role: str, parts: Sequence[Part]) -> dict[str, str]:
    media = {part.modality for part in parts if not isinstance(part, TextPart)}
    if media:
        names = _names(media)
        raise UnreadableError(f"the prompt has {names}, which a text reward model cannot see")
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return {"role": role, "content": guard.clean_text(text)}


# --- the model -----------------------------------------------------------------------------------


class Head:
    """A checkpoint with its reader: questions in, scalars out. Loads at its first use."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self.reader = reader
        self._model: Any = None

    def load(self) -> None:
        """UserError if the checkpoint does not load, or has no trained scalar head."""
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        # A tiny model is exact in float32 everywhere; a large one keeps its own type on a GPU.
        own_type = device == "cuda" and not isinstance(self.reader, MicroReader)
        try:
            self.reader.load(self.path)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                self.path,
                num_labels=1,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype="auto" if own_type else torch.float32,
                output_loading_info=True,
            )
        except Exception as error:
            raise UserError(f"{self.path} does not load: {type(error).__name__}: {error}") from error
        missing = sorted(report["missing_keys"])
        if missing:
            raise UserError(f"{self.path} has no trained scalar head: {missing[0]} is missing")
        self._model = model.to(device).eval()

    def scalars(self, questions: Sequence[Question]) -> list[float | UnreadableError]:
        """One scalar a question, or why there is none."""
        if self._model is None:
            self.load()
        found: list[float | UnreadableError] = [UnreadableError("")] * len(questions)
        readable: dict[int, list[int]] = {}
        for place, question in enumerate(questions):
            try:
                readable[place] = self._ids(question)
            except UnreadableError as error:
                found[place] = error
        pad = self._model.config.pad_token_id
        # Without a token for padding, sequences of different length cannot share a batch.
        groups = [list(readable)] if pad is not None else [[place] for place in readable]
        for group in groups:
            scalars = self._run([readable[place] for place in group], pad or 0) if group else []
            for place, scalar in zip(group, scalars, strict=True):
                found[place] = scalar
        return found

    def _ids(self, question: Question) -> list[int]:
        ids = self.reader.ids(question)
        longest = getattr(self._model.config, "max_position_embeddings", None)
        if longest is not None and len(ids) > longest:
            raise UnreadableError(f"{len(ids)} tokens, and the judge reads at most {longest}")
        return ids

    def _run(self, sequences: Sequence[Sequence[int]], pad: int) -> list[float]:
        """Scalars of token ids. Padding is on the right and masked, so it does not change them."""
        import torch

        longest = max(map(len, sequences))
        rows = [[*ids, *[pad] * (longest - len(ids))] for ids in sequences]
        mask = [[1] * len(ids) + [0] * (longest - len(ids)) for ids in sequences]
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor(rows, device=self._model.device),
                attention_mask=torch.tensor(mask, device=self._model.device),
            ).logits
        scalars: list[float] = logits[:, 0].float().tolist()
        return scalars


class Batcher:
    """Collects questions that are asked at the same time, and has them answered in one thread."""

    def __init__(self, answer: Callable[[Sequence[Question]], list[float | UnreadableError]]) -> None:
        self._answer = answer
        self._waiting: list[tuple[Question, asyncio.Future[float]]] = []
        self._thread = ThreadPoolExecutor(1, "reward-model")

    async def __call__(self, question: Question) -> float:
        """The scalar of a question. UnreadableError, or whatever the model raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()
        self._waiting.append((question, future))
        if len(self._waiting) >= _BATCH:
            self._start()
        else:
            loop.call_later(_PATIENCE, self._start)
        return await future

    def _start(self) -> None:
        """Sends off what is waiting; whoever waited for less has been served by another's call."""
        batch, self._waiting = self._waiting, []
        if batch:
            questions = [question for question, _ in batch]
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, questions)
            work.add_done_callback(lambda done: _deliver(done, [future for _, future in batch]))


def _deliver(
    done: asyncio.Future[list[float | UnreadableError]], futures: Sequence[asyncio.Future[float]]
) -> None:
    for place, future in enumerate(futures):
        if future.done():  # who asked is gone
            continue
        if done.cancelled():
            future.cancel()
        elif (error := done.exception()) is not None:
            future.set_exception(error)
        elif isinstance(answer := done.result()[place], UnreadableError):
            future.set_exception(answer)
        else:
            future.set_result(answer)


# --- the scorer ----------------------------------------------------------------------------------


class RewardModelScorer(Scorer):
    """A reward model as a scorer."""

    kind = "reward_model"

    def __init__(self, folder: JudgeFolder, file: JudgeFile, path: Path, reader: Reader) -> None:
        self.name = folder.name
        self.metrics = file.metrics
        self._pairs = {name: _PAIRS[name] for name in file.metrics if name in _PAIRS}
        self._sees = reader.sees & set(file.sees)
        self._ask = Batcher(Head(path, reader).scalars)
        files = [path / "config.json", *weight_files(path), *(path / name for name in reader.files)]
        weights = hash_files([p for p in files if p.is_file()])
        self.fingerprint = sha256_of([weights, file.metrics, sorted(self._sees), guard.VERSION])

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        if self._pairs:
            return await self._score_pairs(sample, response)
        ((name, metric),) = self.metrics.items()
        missing = set(sample.contract.required) - set(response.modalities)
        return {name: _score(metric, await self._opinion(sample, response.parts, missing))}

    async def _score_pairs(self, sample: Sample, response: Response) -> dict[str, Score]:
        """A score for every declared pair that is required or present, and their mean."""
        required, present = set(sample.contract.required), set(response.modalities)
        wanted = {n: p for n, p in self._pairs.items() if set(p) <= required or set(p) <= present}
        opinions = await asyncio.gather(
            *(
                self._opinion(sample, _parts_of(response, pair), set(pair) - present)
                for pair in wanted.values()
            )
        )
        scores = {
            name: _score(self.metrics[name], opinion)
            for name, opinion in zip(wanted, opinions, strict=True)
        }
        if scores and OVERALL in self.metrics:
            scores[OVERALL] = _score(
                self.metrics[OVERALL], _mean(dict(zip(wanted, opinions, strict=True)))
            )
        return scores

    async def _opinion(self, sample: Sample, parts: Sequence[Part], missing: set[Modality]) -> Opinion:
        if missing:
            return Opinion(0.0, f"no {_names(missing)}, which is required")
        if not parts:
            return Opinion(0.0, "the response is empty")
        unseen = {part.modality for part in parts} - self._sees
        if unseen:
            return Opinion(None, f"the response has {_names(unseen)}, which this judge cannot see")
        try:
            scalar = await self._ask(Question(sample.messages, parts))
        except NothingShownError as error:
            return Opinion(0.0, str(error))
        except UnreadableError as error:
            return Opinion(None, str(error))
        except EvalError:
            raise
        except Exception as error:  # out of memory, a token that the model lacks ...
            return Opinion(None, f"the model failed: {type(error).__name__}: {error}")
        if not math.isfinite(scalar):
            return Opinion(None, f"the model gave {scalar}")
        return Opinion(0.5 * (1 + math.tanh(scalar / 2)), scalar=scalar)  # the sigmoid, never too large


def make(folder: JudgeFolder, file: JudgeFile, model: str | None, allow_code: bool) -> Scorer:
    """The scorer of a judge folder of kind reward_model; `model` is the path of a checkpoint to use
    instead of the folder's own. Without either the judge is unavailable. Nothing is loaded yet."""
    if model is None and file.checkpoint is None:
        return NoModel(folder.name, file.kind, file.metrics)
    path = _checkpoint(folder, file, model)
    check_complete(path)
    architectures = json.loads((path / "config.json").read_bytes()).get("architectures") or [""]
    if not architectures[0].endswith("ForSequenceClassification"):
        raise UserError(
            f"{path} holds {architectures[0] or 'an unnamed model'}, not a reward model: save it from "
            "AutoModelForSequenceClassification with num_labels=1"
        )
    reader: Reader = MicroReader() if (path / "codec.json").is_file() else TextReader()
    _check_metrics(folder, file.metrics, reader)
    return RewardModelScorer(folder, file, path, reader)


def _checkpoint(folder: JudgeFolder, file: JudgeFile, model: str | None) -> Path:
    if model is not None:
        path = Path(model)
        if not path.is_dir():
            raise UserError(
                f"--judge {folder.name}={model}: there is no such folder; a reward model is given by "
                "the path of its checkpoint"
            )
        return path
    assert file.checkpoint is not None
    try:
        return path_inside(folder.path, file.checkpoint)
    except ValueError as error:
        raise UserError(f"{folder.path / 'judge.yaml'}: checkpoint: {error}") from None


def _check_metrics(folder: JudgeFolder, metrics: Mapping[str, Metric], reader: Reader) -> None:
    """UserError unless there are pairs with nothing but their mean, or exactly one metric."""
    where = folder.path / "judge.yaml"
    pairs = [name for name in metrics if name in _PAIRS]
    others = [name for name in metrics if name not in _PAIRS]
    if pairs and any(name != OVERALL for name in others):
        raise UserError(f"{where}: beside pairs of modalities there is only {OVERALL!r}: {others}")
    if not pairs and len(others) > 1:
        raise UserError(
            f"{where}: a reward model gives one number: one metric, or pairs such as text_image, "
            f"not {', '.join(others)}"
        )
    unseen = next((name for name in pairs if not reader.sees >= set(_PAIRS[name])), None)
    if unseen is not None:
        raise UserError(f"judge {folder.name}: a text reward model cannot see the pair {unseen}")


def _parts_of(response: Response, pair: tuple[Modality, Modality]) -> list[Part]:
    """The parts of two modalities, in this order: all text together, and the first medium of a kind."""
    parts: list[Part] = []
    for modality in pair:
        medium = response.first(modality)
        if medium is not None:
            parts.append(medium)
        elif modality in response.modalities:
            parts.append(TextPart(response.text))
    return parts


def _mean(opinions: Mapping[str, Opinion]) -> Opinion:
    """The mean over pairs; none if the judge cannot tell one of them."""
    unclear = [name for name, opinion in opinions.items() if opinion.quality is None]
    if unclear:
        return Opinion(None, f"no value for {', '.join(unclear)}")
    quality = math.fsum(opinion.quality or 0.0 for opinion in opinions.values()) / len(opinions)
    return Opinion(quality, f"mean over {', '.join(opinions)}")


def _score(metric: Metric, opinion: Opinion) -> Score:
    """The opinion on the metric's range. Rounded, so that the last bits, which depend on what shared
    a batch, do not show."""
    if opinion.quality is None:
        return Score(None, explanation=opinion.reason)
    if opinion.quality == 0.0:
        return Score(metric.worst, explanation=opinion.reason)
    low, high = metric.range
    share = opinion.quality if metric.better == "higher" else 1 - opinion.quality
    details = {} if opinion.scalar is None else {"scalar": round(opinion.scalar, 6)}
    value = min(high, max(low, round(low + share * (high - low), 6)))
    return Score(value, explanation=opinion.reason, details=details)


def _names(modalities: set[Modality]) -> str:
    return ", ".join(m for m in MODALITIES if m in modalities)
