"""Class of transformers for a model with scalar heads, and the names of its heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OVERALL_HEAD = "reward"
"""Name of the first head: quality of the response as a whole."""


def heads_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the heads of a checkpoint, from its config.json: the overall one first, then aspects.

    Without names in the file (transformers writes LABEL_0, LABEL_1 ...) there is the overall head alone.

    Example:
        >>> heads_of({"id2label": {"0": "reward", "1": "harmlessness"}}), heads_of({})
        (('reward', 'harmlessness'), ('reward',))
    """
    labels = {int(key): str(name) for key, name in (config.get("id2label") or {}).items()}
    names = tuple(labels[key] for key in sorted(labels))
    has_named_heads = len(names) > 1 and names[0] == OVERALL_HEAD
    return names if has_named_heads else (OVERALL_HEAD,)


def scored_class(config: Any) -> Any:
    """Class that loads a checkpoint with a linear head on the hidden state of the last token, and saves
    it as `<architecture>ForSequenceClassification`. ValueError for an unsupported architecture.

    transformers (5.23) has such classes for text models only. For models with other inputs the class is
    made in the same way as transformers makes its own, from the base model that AutoModel loads and
    GenericForSequenceClassification, so that weights have the names that transformers would give them.
    """
    import transformers
    from transformers.modeling_layers import GenericForSequenceClassification
    from transformers.models.auto import modeling_auto as mappings

    model_type = config.model_type
    if model_type in mappings.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        return transformers.AutoModelForSequenceClassification
    base_name = mappings.MODEL_MAPPING_NAMES.get(model_type)
    if not isinstance(base_name, str) or not base_name.endswith("Model") or config.is_encoder_decoder:
        raise ValueError(f"models of type {model_type} have no body that a scalar head can be put on")
    parent = getattr(transformers, base_name).__mro__[1]
    class_name = f"{base_name.removesuffix('Model')}ForSequenceClassification"
    return type(class_name, (GenericForSequenceClassification, parent), {"__module__": __name__})
