"""The grammar: all families of prompts, by name."""

from eval_anything.micro.exchange import Family
from eval_anything.micro.families import making, questions, transforming

FAMILIES: dict[str, Family] = {
    family.name: family for family in (*questions.FAMILIES, *making.FAMILIES, *transforming.FAMILIES)
}
