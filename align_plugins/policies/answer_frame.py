"""The place of an answer in a chat template: what the model writes before it, and what follows.

An answer is never searched for in the rendered conversation, since "a" and "hi" stand in many templates.
A word that is nowhere else stands in for it, and shows the place of answers.

All that a template writes between its prompt for an answer and the answer is learned with it, such as
the header of a channel or an empty block of thoughts: a model that is asked with this prompt has to
write it by itself. What the prompt has already is not learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from eval_anything.thoughts import begins_with_mark, closes_thoughts, closing_mark, open_mark

Turns = Sequence[Mapping[str, str]]
"""A conversation: {"role", "content"} of each message."""


Render = Callable[[Turns, bool], str]
"""Renders a conversation, open for the next answer or (False) closed."""


class FrameError(ValueError):
    """A template in which an answer has no place that can be told."""


class FramedAnswer(NamedTuple):
    """One answer as a model learns to write it.

    Attributes:
        head: text of the template before it.
        text: the answer as the template renders it.
        thinks: whether the text has thoughts, whose marks are more than words.
    """

    head: str
    text: str
    thinks: bool = False


class Frame(NamedTuple):
    """The text around the answer to one conversation.

    Attributes:
        prompt: the prompt for an answer, with which generation begins.
        head: text that the model writes before an answer.
        before: all text before an answer that is given.
        tail: text after it.
    """

    prompt: str
    head: str
    before: str
    tail: str

    def around(self, text: str, render: Render, turns: Turns) -> FramedAnswer:
        """The frame with an answer to the conversation in it.

        An answer that begins with thoughts of its own is learned as it is, also where the template drops
        them: they take the place of an empty block. FrameError if the template changes an answer by more
        than white space at its ends.
        """
        if begins_with_mark(text) and closes_thoughts(text):
            return self._with_thoughts(text)
        full = render(_answered(turns, text), False)
        rendered = full[len(self.before) : len(full) - len(self.tail)]
        if full != self.before + rendered + self.tail or rendered.strip() != text.strip():
            raise FrameError("the chat template leaves the answer out or changes its text")
        return FramedAnswer(self.head, rendered)

    def _with_thoughts(self, text: str) -> FramedAnswer:
        opening = open_mark(self.prompt)
        if not opening:
            return FramedAnswer("" if begins_with_mark(self.head) else self.head, text, thinks=True)
        if not text.lstrip().startswith(opening):
            raise FrameError(f"its prompt opens thoughts with {opening}, the answer with another mark")
        space = self.prompt.rpartition(opening)[2]
        opened = text.lstrip().removeprefix(opening).removeprefix(space)
        return FramedAnswer("", opened, thinks=True)


def frame_of(render: Render, turns: Turns) -> Frame:
    """The frame of answers to a conversation. FrameError if the template has none."""
    prompt = render(turns, True)
    before, tail = _around_answer(render, turns, prompt)
    head = _missing(prompt, before)
    if head is None:  # earlier turns are written otherwise: only what follows the last one is compared
        head = _missing(*_behind_question(render, turns, prompt))
    if head is None:
        raise FrameError(
            "the chat template writes something else before an answer than in its prompt for one: give "
            "the checkpoint one whose prompt, with add_generation_prompt, begins the turn of the answer"
        )
    opening = open_mark(prompt)
    if opening and not closes_thoughts(head):
        closing = closing_mark(opening)
        if closing is None:
            raise FrameError(f"the chat template's prompt ends in {opening}, which no answer can follow")
        head = f"\n\n{closing}\n\n".removeprefix("\n" if prompt.endswith("\n") else "")
    return Frame(prompt, head, before, tail)


def _answered(turns: Turns, text: str) -> Turns:
    return [*turns, {"role": "assistant", "content": text}]


def _around_answer(render: Render, turns: Turns, prompt: str) -> tuple[str, str]:
    """The text before and after an answer, as a template writes it."""
    answer = _unused(prompt, "xAnswerX")
    full = render(_answered(turns, answer), False)
    if full.count(answer) != 1:
        raise FrameError("the chat template leaves the answer out, repeats it or changes its text")
    before, _, tail = full.partition(answer)
    return before, tail


def _behind_question(render: Render, turns: Turns, prompt: str) -> tuple[str, str]:
    """The text behind that of the last turn: in the prompt, and up to an answer that is given."""
    word = _unused(prompt, "xQuestionX")
    questions = [*turns[:-1], {**turns[-1], "content": turns[-1]["content"] + word}]
    before, _ = _around_answer(render, questions, prompt)
    return render(questions, True).rpartition(word)[2], before.rpartition(word)[2]


def _missing(prompt: str, before: str) -> str | None:
    """The end that a prompt lacks of the text before an answer; None if they are different."""
    if before.startswith(prompt):
        return before[len(prompt) :]
    return "" if prompt.startswith(before) else None


def _unused(text: str, word: str) -> str:
    """The word, made longer until the text has it nowhere."""
    while word in text:
        word += "X"
    return word
