"""The grammar: all families of prompts, by name."""

from __future__ import annotations

from eval_anything.micro.prompts.exchange import PromptFamily
from eval_anything.micro.prompts.families import making, questions, transforming

FAMILIES: dict[str, PromptFamily] = {
    family.name: family for family in (*questions.FAMILIES, *making.FAMILIES, *transforming.FAMILIES)
}
