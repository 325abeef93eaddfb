"""Our models as models of lm-evaluation-harness.

    from eval_anything.lm_eval.lm import EvalAnythingLM

    lm_eval.simple_evaluate(model=EvalAnythingLM("path/to/checkpoint"), tasks=["arc_easy"])

Importing this module also registers the name `eval_anything` with lm_eval, so that
`simple_evaluate(model="eval_anything", model_args="model=micro")` works. lm_eval finds no models of
other packages by itself; `python -m eval_anything.lm_eval` is its command line with ours.
"""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from eval_anything.content import Failure, Message, TextPart, Usage
from eval_anything.errors import EvalError, UserError
from eval_anything.lm_eval.generation import read_generation
from eval_anything.lm_eval.request_log import Answers, LoggedAnswer, key_of
from eval_anything.lm_eval.tasks import text_model
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request
from eval_anything.models.local.text import LocalText
from eval_anything.models.spec import resolve
from eval_anything.output.progress import Progress

# Log-likelihoods go to the model in windows of this many batches: requests in one can share prefixes.
_BATCHES = 8


# Folder for media that a server returns beside its text, when there is no run.
_ELSEWHERE = Path(tempfile.gettempdir()) / "eval-anything-media"


class Conversation(str):
    """A conversation as JSON, which lm_eval passes around as a prompt, for models that take messages."""


@register_model("eval_anything")
class EvalAnythingLM(TemplateLM):  # type: ignore[misc]
    """A model of this package for lm_eval.

    Args:
        model: a model, or the SPEC of one.
        seed: the seed of sampling.
        store: receives media that a server returns.
        progress: reports the progress of requests.
        arguments: further arguments, those of `--model-arg`.

    Attributes:
        answers: stored answers; requests that have one are not sent again.
        failures: the model's own failures, by (task, document number).
        usage: generated tokens by (task, document number).
    """

    def __init__(
        self,
        model: Model | str,
        *,
        seed: int = 0,
        store: MediaStore | None = None,
        progress: Progress | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        if isinstance(model, str):
            model = resolve(model, {key: str(argument) for key, argument in arguments.items()})
            text = text_model(model)
            model.load()
        else:
            text = text_model(model)
        self.wrapped = model
        self.text = text
        self.answers = Answers()
        self.failures: dict[tuple[str, int], Failure] = {}
        self.usage: dict[tuple[str, int], Usage] = {}
        self._seed = int(seed)
        self._store = store if store is not None else MediaStore(_ELSEWHERE)
        self._progress = progress if progress is not None else Progress("silent")
        self._loop = asyncio.new_event_loop()
        self._chats = False  # whether prompts are conversations, whose control tokens are the template's
        if isinstance(text, LocalText):
            self.tokenizer = text.checkpoint.tokenizer

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> EvalAnythingLM:
        """Makes the model from lm_eval's `model_args`. `additional_config`, lm_eval's own batch size and
        device, is ignored: the model chooses its own, or `model_args` sets them."""
        return cls(**utils.simple_parse_args_string(arg_string))

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> EvalAnythingLM:
        """Makes the model from arguments in a dictionary."""
        return cls(**arg_dict)

    def close(self) -> None:
        """Cancels open requests and closes the connections to a server."""
        if self._loop.is_closed():
            return
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self.wrapped.close())
        self._loop.close()

    # --- the interface of lm_eval --------------------------------------------------------------

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """log p(continuation | context), and True if the continuation is the greedy one; (-inf, False)
        where the model failed."""
        self._local("log-likelihoods")
        size = _BATCHES * self.wrapped.batch_size
        answers = self._answered("loglikelihood", requests, size, self._scored)
        return [(-math.inf, False) if k.answer is None else (k.answer[0], k.answer[1]) for k in answers]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """log p(text) of full texts, in windows of as many tokens as the model can read; -inf where the
        model failed."""
        self._local("log-likelihoods")
        answers = self._answered(
            "loglikelihood_rolling", requests, self.wrapped.batch_size, self._scored_texts
        )
        return [-math.inf if k.answer is None else k.answer for k in answers]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continuations of the prompts, up to one of the endings; empty where the model failed."""
        size = max(self.wrapped.batch_size, self.wrapped.concurrency)
        answers = self._answered("generate_until", requests, size, self._generated)
        return ["" if k.answer is None else k.answer for k in answers]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Prompt for a conversation: by the checkpoint's template, or the messages for a server."""
        if isinstance(self.text, LocalText):
            self._chats = True
            return self.text.checkpoint.chat(chat_history, add_generation_prompt)
        return Conversation(json.dumps(chat_history))

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer in lm_eval's caches: the SPEC without slashes."""
        return self.wrapped.spec.replace("/", "__")

    @property
    def eot_token_id(self) -> int:
        """Id of the token that ends a text."""
        return int(self._local("tokens").checkpoint.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Id of the token before the first one of a text."""
        return self._local("tokens").first_token

    @property
    def max_length(self) -> int:
        """Largest number of tokens that the model can read."""
        return self._local("tokens").positions

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Token ids of a text."""
        return self._local("tokens").encode(string, add_special_tokens)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        words = self._local("tokens").as_words
        pair = super()._encode_pair(self._plain(context), words(continuation))
        return pair[0], pair[1]

    def _plain(self, prompt: str) -> str:
        """A prompt for `tok_encode`: control tokens in it are words, unless a template made it."""
        if self._chats or not isinstance(self.text, LocalText):
            return prompt
        return self.text.as_words(prompt)

    def _loglikelihood_tokens(self, requests: list[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        contexts, continuations = [r[1] for r in requests], [r[2] for r in requests]
        likelihoods = self._local("log-likelihoods").loglikelihoods(contexts, continuations)
        return [(likelihood.value, likelihood.greedy) for likelihood in likelihoods]

    # --- answers -------------------------------------------------------------------------------

    def _local(self, output: str) -> LocalText:
        """The local model. UserError if the model has no log-likelihoods, naming the missing output."""
        if not isinstance(self.text, LocalText) or not self.text.scores:
            raise UserError(f"--model {self.wrapped.spec} gives no {output}, only text")
        return self.text

    def _answered(
        self,
        kind: str,
        requests: Sequence[Instance],
        size: int,
        ask: Callable[[Sequence[Instance], Sequence[str]], list[LoggedAnswer | EvalError]],
    ) -> list[Any]:
        """Answers to all requests, in order: stored ones, or the model's, `size` requests at a time.

        A local model gets a complete window of requests even if only one answer in it is missing:
        rounding depends on the other requests of a batch, so a resumed run sends the same batches.
        """
        times: Counter[str] = Counter()
        keys = []
        for request in requests:
            times[same := key_of(kind, request.args, 0)] += 1
            keys.append(key_of(kind, request.args, times[same]))
        with self._progress.count(len(requests), "request") as advance:
            for start in range(0, len(requests), size):
                rows = range(start, min(start + size, len(requests)))
                missing = [i for i in rows if self.answers.get(keys[i]) is None]
                if missing:
                    batch = list(rows) if isinstance(self.text, LocalText) else missing
                    answers = ask([requests[i] for i in batch], [keys[i] for i in batch])
                    new = (
                        k for k in answers if isinstance(k, LoggedAnswer) and not self.answers.get(k.key)
                    )
                    self.answers.add(list(new))
                    for answer in answers:
                        if isinstance(answer, EvalError):
                            raise answer
                for i in rows:
                    advance(self._count(requests[i], keys[i]))
        return [self.answers.get(key) for key in keys]

    def _count(self, request: Instance, key: str) -> bool:
        """Adds one answer to the usage and failures of its document; True if the model failed."""
        answer = self.answers.get(key)
        assert answer is not None
        document = (request.task_name or "", request.doc_id or 0)
        if answer.failure is not None:
            self.failures.setdefault(document, answer.failure)
        self.usage[document] = self.usage.get(document, Usage()) + answer.usage
        return answer.failure is not None

    def _scored(
        self, requests: Sequence[Instance], keys: Sequence[str]
    ) -> list[LoggedAnswer | EvalError]:
        likelihoods = _ask_each(
            requests, lambda some: super(EvalAnythingLM, self).loglikelihood(some, disable_tqdm=True)
        )
        return [_logged(key, likelihood) for key, likelihood in zip(keys, likelihoods, strict=True)]

    def _scored_texts(
        self, requests: Sequence[Instance], keys: Sequence[str]
    ) -> list[LoggedAnswer | EvalError]:
        likelihoods = _ask_each(requests, self._text_likelihoods)
        return [_logged(key, likelihood) for key, likelihood in zip(keys, likelihoods, strict=True)]

    def _text_likelihoods(self, requests: Sequence[Instance]) -> list[float]:
        windows = [
            (i, *utils.make_disjoint_window(window))
            for i, request in enumerate(requests)
            for window in utils.get_rolling_token_windows(
                token_list=self.tok_encode(self._local("tokens").as_words(request.args[0])),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
        ]
        sums = [0.0] * len(requests)
        likelihoods = self._local("log-likelihoods").loglikelihoods(
            [context for _, context, _ in windows], [text for _, _, text in windows]
        )
        for (i, _, _), likelihood in zip(windows, likelihoods, strict=True):
            sums[i] += likelihood.value
        return sums

    def _generated(
        self, requests: Sequence[Instance], keys: Sequence[str]
    ) -> list[LoggedAnswer | EvalError]:
        groups: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], default=str), []).append(i)
        answer_of: dict[int, LoggedAnswer | EvalError] = {}
        for rows in groups.values():
            task = requests[rows[0]].task_name or "a task"
            generation = read_generation(requests[rows[0]].args[1], task)
            sampling = msgspec.structs.replace(generation.sampling, seed=self._seed)
            prompts = [
                Request(task, keys[i], 0, _messages(self._plain(requests[i].args[0])), sampling)
                for i in rows
            ]
            asking = self.text.go_on(prompts, generation.ending, self._store)
            answers = self._loop.run_until_complete(asking)
            for i, answer in zip(rows, answers, strict=True):
                if isinstance(answer, EvalError):
                    answer_of[i] = answer
                    continue
                text = "".join(part.text for part in answer.parts if isinstance(part, TextPart))
                generated = None if answer.error is not None else text
                answer_of[i] = LoggedAnswer(keys[i], generated, answer.error, answer.usage)
        return [answer_of[i] for i in range(len(requests))]


def _messages(prompt: str) -> tuple[Message, ...]:
    if isinstance(prompt, Conversation):
        turns = json.loads(prompt)
        return tuple(Message(turn["role"], (TextPart(turn["content"]),)) for turn in turns)
    return (Message("user", (TextPart(prompt),)),)


def _ask_each(
    requests: Sequence[Instance], ask: Callable[[Sequence[Instance]], Sequence[Any]]
) -> list[Any]:
    """Answers of `ask`; after an exception each request is asked alone, and those that raise fail."""
    try:
        return list(ask(requests))
    except EvalError:
        raise
    except Exception as error:
        if len(requests) > 1:
            return [answer for request in requests for answer in _ask_each([request], ask)]
        return [Failure("model_error", f"{type(error).__name__}: {error}")]


def _logged(key: str, answer: float | tuple[float, bool] | Failure) -> LoggedAnswer:
    if isinstance(answer, Failure):
        return LoggedAnswer(key, None, answer)
    likelihood = answer[0] if isinstance(answer, tuple) else answer
    if not math.isfinite(likelihood):
        return LoggedAnswer(key, None, Failure("model_error", f"a log-likelihood of {likelihood}"))
    return LoggedAnswer(key, answer)
