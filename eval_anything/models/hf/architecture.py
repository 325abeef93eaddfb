"""The class of transformers that loads a checkpoint that answers with text, by its config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from eval_anything import plugins
from eval_anything.errors import UserError

_OTHER_HEAD = re.compile(r"For(\w*Classification|MaskedLM|QuestionAnswering|MultipleChoice|Pre\w+ing)$")


def auto_class(where: str, config: Mapping[str, Any], trusted: bool) -> tuple[Any, bool]:
    """The class that loads the checkpoint, and whether it reads media.

    Args:
        where: the checkpoint, for errors.
        config: the content of its config.json.
        trusted: whether code of the checkpoint may run.

    Raises:
        UserError: no class of transformers loads it so that it answers with text.
    """
    import transformers
    from transformers.models.auto import modeling_auto as auto_names

    kind = str(config.get("model_type", ""))
    architecture = next(iter(config.get("architectures") or []), "")
    if _OTHER_HEAD.search(architecture):
        raise UserError(
            f"{where} is a {architecture}, which gives labels, scores or vectors and no text: as a "
            "judge it may serve (kind reward_model), as a model it has nothing to answer with"
        )
    if kind in auto_names.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES:
        return transformers.AutoModelForMultimodalLM, True
    if kind not in auto_names.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES:
        causal = auto_names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
        encoding = auto_names.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.get(kind)
        # The causal class would load only the decoder of an encoder with a decoder (BART, Whisper).
        has_encoder = architecture.endswith("ForConditionalGeneration") and architecture != causal
        if encoding is not None and (causal is None or architecture == encoding):
            return transformers.AutoModelForSeq2SeqLM, False
        if causal is not None and not has_encoder:
            return transformers.AutoModelForCausalLM, False
    if "auto_map" in config:
        if trusted:
            return transformers.AutoModelForCausalLM, False
        raise UserError(
            f"{where} brings its own code ({kind or 'no model_type'}), which is not run unless you say "
            "so: read it, then add --model-arg trust_remote_code=true"
        )
    served = ", ".join(plugins.names(plugins.HF_FAMILIES))
    raise UserError(
        f"{where}: no family of models serves model_type {config.get('model_type', '')!r} "
        f"({architecture or 'no architecture named'}). Served are {served}, and every model of "
        "transformers that is made to answer with text (`eval-anything models list`)."
    )


def check_served(where: str, config: Mapping[str, Any]) -> None:
    """Raises UserError if no family serves a checkpoint with this config, complete or not."""
    kind = config.get("model_type")
    if kind and kind not in plugins.names(plugins.HF_FAMILIES):
        auto_class(where, config, trusted=True)
