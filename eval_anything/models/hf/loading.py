"""Loading of a checkpoint's weights, processor and tokenizer, with a UserError for every mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError, install
from eval_anything.files.reading import read_text
from eval_anything.models.hf import gguf_file
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.source import Source


def load_model(auto: Any, source: Source, settings: FamilySettings) -> Any:
    """A model in eval mode on its device, with its adapter.

    Args:
        auto: a class with `from_pretrained`.
        source: the checkpoint; its weights must be safetensors, or a GGUF file.
        settings: dtype, device, quantization and the like.

    Raises:
        UserError: the files lack a tensor (it would be random), or a setting cannot be met.
    """
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    if source.gguf is not None and settings.quantization:
        raise UserError(
            f"--model-arg quantization={settings.quantization}: {source.gguf} has fixed bits: leave it "
            "out, or take another file"
        )
    options: dict[str, Any] = {
        "dtype": settings.dtype,
        "output_loading_info": True,
        **_placement(settings),
    }
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # missing tensors are reported below, once
    try:
        if source.gguf is not None:
            with gguf_file.alone(source.gguf) as (folder, name):
                config = AutoConfig.for_model(**source.config)
                model, report = auto.from_pretrained(folder, config=config, gguf_file=name, **options)
            gguf_file.divide_frequencies(model, source.gguf)
        else:
            model, report = auto.from_pretrained(
                source.location,
                revision=source.revision,
                use_safetensors=True,
                trust_remote_code=settings.trust_remote_code,
                **options,
            )
    finally:
        logging.set_verbosity(verbosity)
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"{source.location}: its weights lack {len(missing)} tensors that its config asks for, "
            f"{missing[0]} first: the checkpoint is incomplete or of another architecture"
        )
    if source.adapter is not None:
        model = _with_adapter(model, source.adapter)
    if not settings.device_map and not settings.quantization:
        model = model.to(device_of(settings))
    return model.eval()


def device_of(settings: FamilySettings) -> str:
    """The device's name; "auto" is the GPU if there is one."""
    import torch

    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _placement(settings: FamilySettings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.attn_implementation:
        options["attn_implementation"] = settings.attn_implementation
    if settings.device_map:
        if settings.device != "auto":
            raise UserError("--model-arg device and device_map exclude each other")
        _check_installed("accelerate", "--model-arg device_map", install("hf"))
        options["device_map"] = settings.device_map
    if settings.quantization:
        if settings.quantization not in ("4bit", "8bit"):
            raise UserError(f"--model-arg quantization={settings.quantization}: must be 4bit or 8bit")
        _check_installed("bitsandbytes", "--model-arg quantization", "pip install bitsandbytes")
        from transformers import BitsAndBytesConfig

        four = settings.quantization == "4bit"
        options["quantization_config"] = BitsAndBytesConfig(load_in_4bit=four, load_in_8bit=not four)
        options.setdefault("device_map", {"": device_of(settings)})
    return options


def _check_installed(package: str, feature: str, remedy: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UserError(f"{feature} needs the package {package}: {remedy}")


def _with_adapter(model: Any, adapter: Path) -> Any:
    """The model with the adapter's layers inserted; its class stays the same."""
    _check_installed("peft", "an adapter of LoRA", install("hf"))
    from peft import PeftModel
    from peft.utils import load_peft_weights

    saved = set(load_peft_weights(str(adapter), device="cpu"))
    try:
        wrapped = PeftModel.from_pretrained(model, str(adapter))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{adapter} does not fit its base model: {error}") from error
    from peft import get_peft_model_state_dict

    strangers = sorted(saved - set(get_peft_model_state_dict(wrapped)))
    if strangers:
        raise UserError(
            f"{adapter} does not fit its base model, which has no place for {strangers[0]} "
            f"({len(strangers)} of {len(saved)} tensors): is it the adapter of another model?"
        )
    return wrapped.get_base_model()


def load_tokenizer(source: Source, settings: FamilySettings) -> Any:
    """The tokenizer, which pads with its end token if it has no padding token."""
    from transformers import AutoTokenizer

    if source.gguf is not None and source.processing == source.location:
        with gguf_file.alone(source.gguf) as (folder, name):
            return _ready(AutoTokenizer.from_pretrained(folder, gguf_file=name))
    tokenizer = AutoTokenizer.from_pretrained(
        source.processing, revision=source.revision, trust_remote_code=settings.trust_remote_code
    )
    return _ready(tokenizer)


def load_processor(
    source: Source, settings: FamilySettings, needs: Sequence[str] = ("tokenizer",)
) -> Any:
    """The processor, with a tokenizer that can pad.

    Raises:
        UserError: it cannot be loaded, or lacks one of the attributes in `needs`.
    """
    here = source.processing
    try:
        from transformers import AutoProcessor  # a broken torchvision shows here already

        processor = AutoProcessor.from_pretrained(
            here, revision=source.revision, trust_remote_code=settings.trust_remote_code
        )
    except Exception as error:
        if _names_torchvision(error):
            raise UserError(
                f"the processor of {here} needs torchvision, which is missing or does not fit torch: "
                "install the build of torchvision that goes with your build of torch"
            ) from error
        raise UserError(
            f"the processor of {here} does not load ({type(error).__name__}: {error}): save it with "
            "processor.save_pretrained beside the weights"
        ) from error
    lacking = [name for name in needs if getattr(processor, name, None) is None]
    if lacking:
        raise UserError(
            f"{here}: the processor is missing (no {lacking[0]}; "
            f"processor_config.json or preprocessor_config.json): save it with "
            "processor.save_pretrained beside the weights"
        )
    _ready(processor.tokenizer)
    return processor


def _names_torchvision(error: BaseException | None) -> bool:
    return error is not None and (
        "torchvision" in str(error).lower() or _names_torchvision(error.__cause__)
    )


def _ready(tokenizer: Any) -> Any:
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_vocabulary(tokenizer: Any, model: Any, where: str) -> None:
    """Raises UserError if the tokenizer has ids for which the model has no embedding."""
    rows = model.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise UserError(
            f"{where}: the tokenizer goes up to id {highest}, the model has {rows} embeddings: the "
            "tokenizer belongs to another checkpoint"
        )


def stop_ids(tokenizer: Any, model: Any, source: Source) -> list[int]:
    """Token ids that end an answer, from the generation config or else from the tokenizer; those of a
    GGUF file are in it."""
    if source.gguf is not None and (ends := gguf_file.end_ids(source.gguf, tokenizer)):
        return ends
    stop = model.generation_config.eos_token_id
    stop = [stop] if isinstance(stop, int) else list(stop or [])
    if not stop and tokenizer.eos_token_id is not None:
        stop = [tokenizer.eos_token_id]
    if not stop:
        raise UserError("the checkpoint names no end-of-text token: set eos_token_id in its config")
    return stop


def load_chat_template(settings: FamilySettings, holder: Any, where: str) -> str | None:
    """The chat template as Jinja, or None if the user chose none.

    Args:
        settings: `chat_template` is auto, none or a file.
        holder: the tokenizer or processor that has the template of the checkpoint.
        where: the checkpoint, for errors.

    Raises:
        UserError: the file cannot be read, or the checkpoint has no template.
    """
    if settings.chat_template == "none":
        return None
    if settings.chat_template != "auto":
        try:
            return read_text(Path(settings.chat_template))
        except OSError as error:
            raise UserError(
                f"--model-arg chat_template={settings.chat_template}: must be auto, none or a file "
                f"that can be read ({error.strerror})"
            ) from None
    template = holder.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if template is None:
        raise UserError(
            f"{where} has no chat template. For a base model, which goes on with plain text: "
            "--model-arg chat_template=none (in the settings of a training: chat_template: none); else "
            "give it: --model-arg chat_template=FILE.jinja"
            f"{'' if Path(where).is_file() else ', or as chat_template.jinja in that folder'}"
        )
    return str(template)


def with_first_token(template: str, tokenizer: Any) -> str:
    """A processor's chat template that writes the first token which the tokenizer adds to a text.

    Processors leave that to the tokenizer where a template does not begin with this token itself; then a
    tokenizer that also adds an end would end every prompt.
    """
    if tokenizer.bos_token is None or tokenizer("a")["input_ids"][:1] != [tokenizer.bos_token_id]:
        return template
    return (
        f"{{% set chat %}}{template}{{% endset %}}"
        "{{ '' if chat.startswith(bos_token) else bos_token }}{{ chat }}"
    )
