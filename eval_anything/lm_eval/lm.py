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
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.local.text import LocalText
from eval_anything.models.spec import resolve
from eval_anything.output.progress import Progress

# Log-likelihoods go to the model in windows of this many batches: what is in one can share prefixes.
_BATCHES = 8


# Where media go that a server gives beside its text, when there is no run.
_ELSEWHERE = Path(tempfile.gettempdir()) / "eval-anything-media"


class Conversation(str):
    """A conversation as JSON, for models that take messages: what lm_eval passes around as a prompt."""


@register_model("eval_anything")
class EvalAnythingLM(TemplateLM):  # type: ignore[misc]
    """A model of this package, or the SPEC of one; further arguments are those of `--model-arg`.

    Attributes:
        answers: where answers are kept; what is there already is not asked for again.
        failures: the model's own failures, by (task, document number).
        usage: tokens by (task, document number), of what was generated.
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
            model = resolve(model, {key: str(value) for key, value in arguments.items()})
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
        if isinstance(text, LocalText):
            self.tokenizer = text.checkpoint.tokenizer

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> EvalAnythingLM:
        """The model of lm_eval's `model_args`. `additional_config` is its own batch size and device,
        which it always gives: ours are chosen by the model, or in `model_args`."""
        return cls(**utils.simple_parse_args_string(arg_string))

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> EvalAnythingLM:
        """The same for arguments in a dictionary."""
        return cls(**arg_dict)

    def close(self) -> None:
        """Ends the connections to a server, and what is under way there."""
        if self._loop.is_closed():
            return
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self.wrapped.close())
        self._loop.close()

    # --- what lm_eval asks ---------------------------------------------------------------------

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """log p(continuation | context), and whether the continuation is the greedy one."""
        self._local("log-likelihoods")
        size = _BATCHES * self.wrapped.batch_size
        kept = self._answered("loglikelihood", requests, size, self._scored)
        return [(-math.inf, False) if k.answer is None else (k.answer[0], k.answer[1]) for k in kept]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """log p(text) of whole texts, in windows of as many tokens as the model can read."""
        self._local("log-likelihoods")
        kept = self._answered(
            "loglikelihood_rolling", requests, self.wrapped.batch_size, self._scored_whole
        )
        return [-math.inf if k.answer is None else k.answer for k in kept]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What follows each prompt, up to one of the endings; empty where the model failed."""
        size = max(self.wrapped.batch_size, self.wrapped.concurrency)
        kept = self._answered("generate_until", requests, size, self._generated)
        return ["" if k.answer is None else k.answer for k in kept]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as a prompt: by the checkpoint's template, or kept as it is for a server."""
        if isinstance(self.text, LocalText):
            return self.text.checkpoint.chat(chat_history, add_generation_prompt)
        return Conversation(json.dumps(chat_history))

    @property
    def tokenizer_name(self) -> str:
        return self.wrapped.spec.replace("/", "__")

    @property
    def eot_token_id(self) -> int:
        return int(self._local("tokens").checkpoint.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        return self._local("tokens").first_token

    @property
    def max_length(self) -> int:
        """Tokens that the model can read."""
        return self._local("tokens").positions

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        return self._local("tokens").encode(string, add_special_tokens)

    def _loglikelihood_tokens(self, requests: list[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        contexts, continuations = [r[1] for r in requests], [r[2] for r in requests]
        found = self._local("log-likelihoods").loglikelihoods(contexts, continuations)
        return [(one.value, one.greedy) for one in found]

    # --- how it is answered --------------------------------------------------------------------

    def _local(self, what: str) -> LocalText:
        if not isinstance(self.text, LocalText) or not self.text.scores:
            raise UserError(f"--model {self.wrapped.spec} gives no {what}, only text")
        return self.text

    def _answered(
        self,
        kind: str,
        requests: Sequence[Instance],
        size: int,
        ask: Callable[[Sequence[Instance], Sequence[str]], list[LoggedAnswer | EvalError]],
    ) -> list[Any]:
        """The answers to all requests, in order, `size` at a time: kept ones, or the model's.

        A window of a local model is asked whole if anything in it is missing: sums depend on what
        shares a batch, so a run that goes on asks in the same company.
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
                    asked = list(rows) if isinstance(self.text, LocalText) else missing
                    found = ask([requests[i] for i in asked], [keys[i] for i in asked])
                    new = (
                        k for k in found if isinstance(k, LoggedAnswer) and not self.answers.get(k.key)
                    )
                    self.answers.add(list(new))
                    for one in found:
                        if isinstance(one, EvalError):
                            raise one
                for i in rows:
                    advance(self._noted(requests[i], keys[i]))
        return [self.answers.get(key) for key in keys]

    def _noted(self, request: Instance, key: str) -> bool:
        """Counts one answer for its document; whether the model failed."""
        kept = self.answers.get(key)
        assert kept is not None
        document = (request.task_name or "", request.doc_id or 0)
        if kept.failure is not None:
            self.failures.setdefault(document, kept.failure)
        self.usage[document] = self.usage.get(document, Usage()) + kept.usage
        return kept.failure is not None

    def _scored(
        self, requests: Sequence[Instance], keys: Sequence[str]
    ) -> list[LoggedAnswer | EvalError]:
        found = _each(
            requests, lambda some: super(EvalAnythingLM, self).loglikelihood(some, disable_tqdm=True)
        )
        return [_kept(key, one) for key, one in zip(keys, found, strict=True)]

    def _scored_whole(
        self, requests: Sequence[Instance], keys: Sequence[str]
    ) -> list[LoggedAnswer | EvalError]:
        found = _each(requests, self._whole)
        return [_kept(key, one) for key, one in zip(keys, found, strict=True)]

    def _whole(self, requests: Sequence[Instance]) -> list[float]:
        windows = [
            (i, *utils.make_disjoint_window(window))
            for i, request in enumerate(requests)
            for window in utils.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
        ]
        sums = [0.0] * len(requests)
        found = self._local("log-likelihoods").loglikelihoods(
            [context for _, context, _ in windows], [text for _, _, text in windows]
        )
        for (i, _, _), one in zip(windows, found, strict=True):
            sums[i] += one.value
        return sums

    def _generated(
        self, requests: Sequence[Instance], keys: Sequence[str]
    ) -> list[LoggedAnswer | EvalError]:
        groups: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], default=str), []).append(i)
        found: dict[int, LoggedAnswer | EvalError] = {}
        for rows in groups.values():
            task = requests[rows[0]].task_name or "a task"
            how = read_generation(requests[rows[0]].args[1], task)
            sampling = Sampling(how.temperature, self._seed)
            asked = [Request(task, keys[i], 0, _messages(requests[i].args[0]), sampling) for i in rows]
            answers = self._loop.run_until_complete(self.text.go_on(asked, how.ending, self._store))
            for i, answer in zip(rows, answers, strict=True):
                if isinstance(answer, EvalError):
                    found[i] = answer
                    continue
                text = "".join(part.text for part in answer.parts if isinstance(part, TextPart))
                given = None if answer.error is not None else text
                found[i] = LoggedAnswer(keys[i], given, answer.error, answer.usage)
        return [found[i] for i in range(len(requests))]


def _messages(prompt: str) -> tuple[Message, ...]:
    if isinstance(prompt, Conversation):
        turns = json.loads(prompt)
        return tuple(Message(turn["role"], (TextPart(turn["content"]),)) for turn in turns)
    return (Message("user", (TextPart(prompt),)),)


def _each(requests: Sequence[Instance], ask: Callable[[Sequence[Instance]], Sequence[Any]]) -> list[Any]:
    """What `ask` says of each request; an exception is the failure of the one that causes it."""
    try:
        return list(ask(requests))
    except EvalError:
        raise
    except Exception as error:
        if len(requests) > 1:
            return [answer for request in requests for answer in _each([request], ask)]
        return [Failure("model_error", f"{type(error).__name__}: {error}")]


def _kept(key: str, answer: float | tuple[float, bool] | Failure) -> LoggedAnswer:
    if isinstance(answer, Failure):
        return LoggedAnswer(key, None, answer)
    value = answer[0] if isinstance(answer, tuple) else answer
    if not math.isfinite(value):
        return LoggedAnswer(key, None, Failure("model_error", f"a log-likelihood of {value}"))
    return LoggedAnswer(key, answer)
