"""The class of transformers with a scalar head, and what its heads are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OVERALL_HEAD = "reward"
"""The first head: how good the response is as a whole."""


def heads_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a checkpoint's heads, from its config.json: the overall one first, then aspects.

    transformers calls labels LABEL_0, LABEL_1 ... where nobody named them; a reward model has one then.
    """
    labels = {int(key): str(name) for key, name in (config.get("id2label") or {}).items()}
    names = tuple(labels[key] for key in sorted(labels))
    named = len(names) > 1 and names[0] == OVERALL_HEAD
    return names if named else (OVERALL_HEAD,)


def scored_class(config: Any) -> Any:
    """What loads a checkpoint with a linear head on the hidden state of its last token, and saves it
    again as `<architecture>ForSequenceClassification`. ValueError for an architecture without a body.

    transformers (5.23) has such classes for models of text alone. For those that see or hear it is made
    in the same way as it makes its own: from the body that AutoModel loads and its
    GenericForSequenceClassification, so that names of weights are those that transformers would give.
    """
    import transformers
    from transformers.modeling_layers import GenericForSequenceClassification
    from transformers.models.auto import modeling_auto as names

    kind = config.model_type
    if kind in names.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        return transformers.AutoModelForSequenceClassification
    body = names.MODEL_MAPPING_NAMES.get(kind)
    if not isinstance(body, str) or not body.endswith("Model") or config.is_encoder_decoder:
        raise ValueError(f"models of type {kind} have no body that a scalar head can be put on")
    parent = getattr(transformers, body).__mro__[1]
    name = f"{body.removesuffix('Model')}ForSequenceClassification"
    return type(name, (GenericForSequenceClassification, parent), {"__module__": __name__})
