"""Helpers for authors of scoring code: controls, sequences of parts, short answers, votes, media."""

from __future__ import annotations

from eval_anything.scoring.controls import answers_of as answers_of
from eval_anything.scoring.controls import gain as gain
from eval_anything.scoring.controls import mean as mean
from eval_anything.scoring.controls import partners as partners
from eval_anything.scoring.controls import same_pairs as same_pairs
from eval_anything.scoring.controls import with_partners as with_partners
from eval_anything.scoring.functions import ControlFunction as ControlFunction
from eval_anything.scoring.functions import ScoreFunction as ScoreFunction
from eval_anything.scoring.media import LocalModel as LocalModel
from eval_anything.scoring.media import applies as applies
from eval_anything.scoring.media import media_of as media_of
from eval_anything.scoring.media import prompt_medium as prompt_medium
from eval_anything.scoring.sequences import likeness as likeness
from eval_anything.scoring.sequences import merged_texts as merged_texts
from eval_anything.scoring.short_answers import only_named as only_named
from eval_anything.scoring.short_answers import stands_in as stands_in
from eval_anything.scoring.votes import brier as brier
from eval_anything.scoring.votes import checked_votes as checked_votes
