"""Families of conversations about one picture that is changed, heard, described and asked about."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eval_anything.micro.making.scripts import ScriptFamily
from eval_anything.micro.prompts.exchange import UnusableError, any_scene, facts_of
from eval_anything.micro.prompts.script import Script, ScriptStep
from eval_anything.micro.world.scenes import (
    COLOURS,
    COLS,
    VALUES,
    Clip,
    Picture,
    Scene,
    Sound,
    SymbolicPart,
    attributes_of,
    modality_of,
    sound_of,
)
from eval_anything.micro.world.words import describe

_DRAW = ("draw {}.", "show me {}.")


_LOOK = ("describe the picture.", "what do you see?")


_ILLUSTRATE = ("draw this sound in {}.", "show me a {} picture that sounds like this.")


_EDITS = {
    "colour": ("now make it {}.", "paint it {}."),
    "row": ("now move it to the {} row.", "move it to the {} row."),
    "col": ("now move it to the {} column.", "move it to the {} column."),
    "shape": ("now turn it into a {}.", "replace it with a {}."),
}


_SOUND = ("and its sound?", "let me hear it.")


_CAPTION = ("describe it.", "tell me what it shows now.")


_ANIMATE = ("let it go {}.", "make it move {}.")


_UNDO = ("make it as it was before.", "undo that.")


_NOW = ("what colour is it now?", "which colour has it now?")


_FIRST = ("what colour was it at first?", "which colour had it in the first picture?")


class _Talk:
    """A conversation as it grows: its turns, their targets, and the picture after each change.

    `unknown` are attributes of the picture that the conversation does not fix.
    """

    def __init__(self, rng: random.Random, template: int, unknown: Sequence[str] = ()) -> None:
        self._rng = rng
        self._template = template
        self._unknown = unknown
        self.pictures: list[Picture] = []
        self.steps: list[ScriptStep] = []
        self.targets: list[dict[str, Any]] = []
        self.about: list[Scene] = []

    def say(
        self,
        paraphrases: Sequence[str],
        answer: SymbolicPart,
        about: Scene,
        *media: Scene,
        filling: str = "",
    ) -> None:
        """Adds a turn of the user; its answer must show the attributes of the scene that it is about."""
        prompt = (*media, paraphrases[self._template].format(filling))
        self.steps.append(ScriptStep(prompt, (answer,)))
        attributes = {n: v for n, v in attributes_of(about).items() if n not in self._unknown}
        self.targets.append({"modality": str(modality_of(answer)), "asked": attributes})
        self.about.append(about)

    def ask(self, paraphrases: Sequence[str], answer: str) -> None:
        """Adds a question with a short answer, a colour."""
        self.steps.append(ScriptStep((paraphrases[self._template],), (answer,)))
        self.targets.append({"modality": "text", "answer": answer, "choices": list(COLOURS)})

    def draw(self) -> None:
        """Asks for a random picture in words."""
        picture = any_scene(self._rng, Picture)
        self.pictures.append(picture)
        self.say(_DRAW, picture, picture, filling=describe(picture))

    def look(self) -> None:
        """Shows a random picture and asks for its description."""
        picture = any_scene(self._rng, Picture)
        self.pictures.append(picture)
        self.say(_LOOK, f"{describe(picture)}.", picture, picture)

    def illustrate(self) -> None:
        """Plays a random sound and asks for its picture. Raises UnusableError if it has none."""
        sound = any_scene(self._rng, Sound)
        attributes = facts_of(sound)
        if "shape" not in attributes or attributes["contour"] != "flat":
            raise UnusableError("no picture sounds like this")
        colour, col = self._rng.choice(COLOURS), self._rng.choice(COLS)
        picture = Picture(attributes["shape"], colour, attributes["row"], col)
        self.pictures.append(picture)
        self.say(_ILLUSTRATE, picture, picture, sound, filling=colour)

    def edit(self, *names: str) -> None:
        """Adds a change of one of these attributes."""
        name = self._rng.choice(names)
        before = getattr(self.pictures[-1], name)
        after = self._rng.choice([v for v in VALUES[name] if v != before])
        changes: Mapping[str, str] = {name: after}
        self.pictures.append(replace(self.pictures[-1], **changes))
        self.say(_EDITS[name], self.pictures[-1], self.pictures[-1], filling=after)

    def undo(self) -> None:
        """Asks for the picture before the last change."""
        self.pictures.append(self.pictures[-2])
        self.say(_UNDO, self.pictures[-1], self.pictures[-1])

    def sound(self) -> None:
        """Asks for the sound of the picture."""
        sound = sound_of(self.pictures[-1])
        self.say(_SOUND, sound, sound)

    def caption(self) -> None:
        """Asks for a description of the picture."""
        self.say(_CAPTION, f"{describe(self.pictures[-1])}.", self.pictures[-1])

    def animate(self) -> None:
        """Asks for a clip in which the shape moves in a random direction."""
        motion = self._rng.choice(VALUES["motion"])
        clip = Clip(self.pictures[-1].shape, self.pictures[-1].colour, motion)
        self.say(_ANIMATE, clip, clip, filling=motion)

    def script(self) -> Script:
        """The conversation so far."""
        return Script(tuple(self.steps), tuple(self.about), {"turns": self.targets})


def _make(fill: Callable[[_Talk], None], unknown: Sequence[str] = ()) -> Callable[..., Script]:
    def make(rng: random.Random, template: int) -> Script:
        talk = _Talk(rng, template, unknown)
        fill(talk)
        return talk.script()

    return make


def _edit_and_hear(talk: _Talk) -> None:
    talk.draw()
    talk.edit("colour", "col")
    talk.edit("row", "shape")
    talk.sound()


def _edit_and_describe(talk: _Talk) -> None:
    talk.look()
    talk.edit("colour")
    talk.edit("row", "col", "shape")
    talk.caption()


def _change_back(talk: _Talk) -> None:
    talk.draw()
    talk.edit("colour", "row", "col", "shape")
    talk.undo()


def _remember(talk: _Talk) -> None:
    talk.draw()
    talk.edit("colour")
    talk.ask(_NOW, talk.pictures[-1].colour)
    talk.ask(_FIRST, talk.pictures[0].colour)


def _edit_and_animate(talk: _Talk) -> None:
    talk.look()
    talk.edit("colour", "shape")
    talk.animate()


def _hear_and_edit(talk: _Talk) -> None:
    talk.illustrate()
    talk.edit("row")
    talk.sound()
    talk.caption()


FAMILIES = (
    ScriptFamily("edit_and_hear", 2, _make(_edit_and_hear)),
    ScriptFamily("edit_and_describe", 2, _make(_edit_and_describe)),
    ScriptFamily("change_back", 2, _make(_change_back)),
    ScriptFamily("remember", 2, _make(_remember)),
    ScriptFamily("edit_and_animate", 2, _make(_edit_and_animate)),
    # A sound says nothing about the column of its picture.
    ScriptFamily("hear_and_edit", 2, _make(_hear_and_edit, ("col",))),
)
