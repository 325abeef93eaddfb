"""What a user may give: adapters of LoRA, base models, foreign code; and what is wrong, by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval_anything.errors import UserError
from eval_anything.models.hf import TransformersModel
from eval_anything.models.local.batches import token_budget
from tests.support.asking import NEW, ask, loaded, user
from tests.support.helpers import Cli
from tests.support.streamed import streamed
from tests.support.tiny import tiny_tokenizer
from tests.support.tiny_media import tiny_llava

PROMPTS = [user("What is the capital of France?"), user("Draw a lighthouse. " * 3)]


def plain(path: Path, prompt: str, adapter: Path | None = None) -> str:
    """Greedy generation by plain calls."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).eval()
    inputs = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=NEW)[0]
    new = ids[inputs["input_ids"].shape[1] :]
    return streamed(tokenizer, new).strip()


def lora(base: Path, path: Path, seed: int = 0) -> Path:
    """A real adapter with random weights, as training saves one."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    wrapped = get_peft_model(
        model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.mul_(20)
    wrapped.save_pretrained(path)
    return path


def test_an_adapter_of_lora_as_spec_and_as_argument(tiny: Path, tmp_path: Path) -> None:
    adapter = lora(tiny, tmp_path / "adapter")
    asked = [f"user: {m[0].parts[0].text}\nassistant:" for m in PROMPTS]  # type: ignore[union-attr]
    expected = [plain(tiny, prompt, adapter) for prompt in asked]
    assert expected != [plain(tiny, prompt) for prompt in asked]
    as_spec, as_argument = loaded(adapter), loaded(tiny, adapter=str(adapter))
    assert as_spec.name == "adapter"
    for model in (as_spec, as_argument):
        assert [r.text for r in ask(model, PROMPTS, tmp_path)] == expected
    assert as_spec.weights() == as_argument.weights() != loaded(tiny).weights()
    other = lora(tiny, tmp_path / "other", seed=1)
    assert loaded(other).weights() != as_spec.weights()


def edit(name: str, **changes: Any) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        data = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(data | changes))

    return change


def bin_weights(path: Path) -> None:
    (path / "adapter_model.safetensors").rename(path / "adapter_model.bin")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit("adapter_config.json", base_model_name_or_path=None), "names no base model"),
        (edit("adapter_config.json", base_model_name_or_path="/no/where"), "/no/where is not there"),
        (bin_weights, "adapter_model.bin is a pickle, which can run code"),
        (lambda path: (path / "adapter_config.json").write_text("{"), "is not valid JSON"),
    ],
)
def test_a_wrong_adapter_is_the_users_error(
    cli: Cli, tiny: Path, tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    adapter = lora(tiny, tmp_path / "adapter")
    change(adapter)
    result = cli("run", "--model", adapter, "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert words in result.err


def test_an_adapter_of_another_model_is_not_dropped_in_silence(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    import safetensors.torch

    adapter = lora(tiny, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    weights = safetensors.torch.load_file(file)
    renamed = {name.replace("layers.1", "layers.7"): tensor for name, tensor in weights.items()}
    safetensors.torch.save_file(renamed, file, {"format": "pt"})
    result = cli("run", "--model", adapter, "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert f"{adapter} does not fit its base model" in result.err


def test_weights_that_are_not_there_are_not_made_up(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    path = shutil.copytree(tiny, tmp_path / "deeper")
    edit("config.json", num_hidden_layers=3)(path)
    result = cli("run", "--model", path, "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert "its weights lack 9 tensors that its config asks for, model.layers.2." in result.err


def test_a_tokenizer_of_another_checkpoint_is_named(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    path = shutil.copytree(tiny, tmp_path / "mixed")
    larger = tiny_tokenizer([f"<{i}>" for i in range(60)])
    larger.add_tokens([f"<more {i}>" for i in range(60)])
    larger.chat_template = "{{ messages }}"
    larger.save_pretrained(path)
    result = cli("run", "--model", path, "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert "belongs to another checkpoint" in result.err


def test_a_base_model_is_asked_with_plain_text_when_that_is_said(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(tiny, tmp_path / "base")
    (path / "chat_template.jinja").unlink()
    result = cli("run", "--model", path, "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert f"{path} has no chat template" in result.err
    answers = [r.text for r in ask(loaded(path, chat_template="none"), PROMPTS, tmp_path)]
    assert answers == [plain(tiny, m[0].parts[0].text) for m in PROMPTS]  # type: ignore[union-attr]
    own = tmp_path / "own.jinja"
    own.write_text("{% for m in messages %}Q: {{ m.content }} A:{% endfor %}")
    answers = [r.text for r in ask(loaded(path, chat_template=str(own)), PROMPTS, tmp_path)]
    assert answers[0] == plain(tiny, "Q: What is the capital of France? A:")
    with pytest.raises(UserError, match="must be auto, none or a file"):
        loaded(path, chat_template="nowhere.jinja")


CODE = """\
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own_llama"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_code_of_a_checkpoint_runs_only_when_that_is_said(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = shutil.copytree(tiny, tmp_path / "own")
    ran = tmp_path / "ran"
    (path / "own.py").write_text(f"open({str(ran)!r}, 'a').close()\n{CODE}")
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    edit("config.json", model_type="own_llama", auto_map=auto)(path)
    run = ["run", "--model", path, "--tasks", "open/selection", "--first", "1", "--max-failed", "1"]
    refused = cli(*run, "--out", "a")
    assert refused.code == 2
    assert "brings its own code (own_llama)" in refused.err
    assert "--model-arg trust_remote_code=true" in refused.err
    assert not ran.exists()
    more = ["--model-arg", "trust_remote_code=true", "--model-arg", "max_new_tokens=4", "--out", "b"]
    allowed = cli(*run, *more)
    assert allowed.code == 0, allowed.err
    assert ran.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["quantization=2bit"], "--model-arg quantization=2bit: must be 4bit or 8bit"),
        (["device=cpu", "device_map=auto"], "device and device_map exclude each other"),
        (["attn_implementation=none_such"], "does not load"),
    ],
)
def test_wrong_ways_to_load(cli: Cli, tiny: Path, arguments: list[str], words: str) -> None:
    given = [word for argument in arguments for word in ("--model-arg", argument)]
    result = cli("run", "--model", tiny, "--tasks", "open/selection", "--first", "1", *given)
    assert result.code == 2
    assert words in result.err


def test_quantization_without_its_package_says_what_to_install(cli: Cli, tiny: Path) -> None:
    from importlib.util import find_spec

    assert find_spec("bitsandbytes") is None, "the tests do not install it"
    arguments = ["--first", "1", "--model-arg", "quantization=4bit"]
    result = cli("run", "--model", tiny, "--tasks", "open/selection", *arguments)
    assert result.code == 2
    assert "needs the package bitsandbytes: pip install bitsandbytes" in result.err


def test_ways_to_load_give_the_same_answers(tiny: Path, tmp_path: Path) -> None:
    expected = [r.text for r in ask(loaded(tiny), PROMPTS, tmp_path)]
    for arguments in (
        {"device_map": "auto"},
        {"attn_implementation": "eager"},
        {"dtype": "float32", "device": "cpu"},
    ):
        assert [r.text for r in ask(loaded(tiny, **arguments), PROMPTS, tmp_path)] == expected


def test_the_generation_config_of_a_checkpoint_counts(tiny: Path, tmp_path: Path) -> None:
    path = shutil.copytree(tiny, tmp_path / "own")
    edit("generation_config.json", repetition_penalty=5.0, do_sample=True, top_p=0.5)(path)
    asked = [f"user: {m[0].parts[0].text}\nassistant:" for m in PROMPTS]  # type: ignore[union-attr]
    expected = [plain(path, prompt) for prompt in asked]
    assert [r.text for r in ask(loaded(path), PROMPTS, tmp_path)] == expected
    assert expected != [plain(tiny, prompt) for prompt in asked]
    edit("generation_config.json", suppress_tokens=list(range(300, 400)), num_beams=3)(path)
    for response in ask(loaded(path), PROMPTS, tmp_path):
        assert response.error is None
        assert response.text != expected[0]


def test_a_head_that_writes_no_text_is_refused(cli: Cli, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tokenizer = tiny_tokenizer(chat_template="{{ messages }}")
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16}
    config = LlamaConfig(**sizes, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "reward")
    tokenizer.save_pretrained(tmp_path / "reward")
    result = cli("run", "--model", "reward", "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert "reward is a LlamaForSequenceClassification" in result.err


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("csm", "CsmForConditionalGeneration"),
        ("dia", "DiaForConditionalGeneration"),
        ("musicgen_melody", "MusicgenMelodyForConditionalGeneration"),
        ("seamless_m4t", "SeamlessM4TModel"),
        ("whisper", "WhisperForConditionalGeneration"),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_an_architecture_that_no_family_serves_is_named(
    cli: Cli, tiny: Path, tmp_path: Path, kind: str, architecture: str, whole: bool
) -> None:
    """Whether its files are those of other checkpoints, or some are missing or have other names."""
    path = tmp_path / "model"
    path.mkdir()
    if whole:
        shutil.copytree(tiny, path, dirs_exist_ok=True)
    config = {"model_type": kind, "architectures": [architecture]}
    (path / "config.json").write_text(json.dumps(config))
    result = cli("run", "--model", path, "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert f"no family of models serves model_type '{kind}' ({architecture})" in result.err
    assert "Served are bark, chameleon, emu3, janus, musicgen," in result.err
    assert len(result.err.strip().splitlines()) <= 3  # what is chosen, and the error


def test_an_encoder_that_has_a_decoder_alone_too_is_loaded_whole(tmp_path: Path) -> None:
    """BART: transformers has a causal class as well, which would be the decoder alone."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = tiny_tokenizer()
    torch.manual_seed(3)
    one = {"layers": 1, "attention_heads": 2, "ffn_dim": 32}
    sizes = {f"{half}_{key}": size for half in ("encoder", "decoder") for key, size in one.items()}
    config = BartConfig(vocab_size=len(tokenizer), d_model=16, **sizes)
    BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
    tokenizer.save_pretrained(tmp_path / "bart")
    model = loaded(tmp_path / "bart", chat_template="none").family.model
    assert type(model) is BartForConditionalGeneration


def test_another_chat_template_under_the_same_name_is_another_model(tiny: Path, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    hashes = set()
    for text in ("{{ messages }}", "{{ messages[0].content }}"):
        template.write_text(text)
        hashes.add(TransformersModel(str(tiny), tiny, {"chat_template": str(template)}).weights())
    hashes.add(TransformersModel(str(tiny), tiny, {}).weights())
    assert len(hashes) == 3


def test_a_prompt_longer_than_the_model_fails_alone(tiny: Path, tmp_path: Path) -> None:
    long, short = ask(loaded(tiny), [user("0 " * 3000), PROMPTS[0]], tmp_path)
    assert short.error is None
    assert long.error is not None
    assert long.error.kind == "unsupported_input"
    assert "tokens, the checkpoint 2048 positions" in long.error.message


def test_a_seeing_model_without_its_processor_is_named(cli: Cli, tmp_path: Path) -> None:
    path = tiny_llava(tmp_path / "llava")
    (path / "processor_config.json").unlink()
    result = cli("run", "--model", path, "--tasks", "open/selection", "--first", "1")
    assert result.code == 2
    assert str(path) in result.err
    assert "processor.save_pretrained beside the weights" in result.err


def test_an_encoder_and_decoder_answers_without_its_start_token(tmp_path: Path) -> None:
    """T5: the prompt is no part of the output."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

    tokenizer = tiny_tokenizer()
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    path = tmp_path / "t5"
    T5ForConditionalGeneration(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    responses = ask(loaded(path, chat_template="none"), PROMPTS, tmp_path)
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForSeq2SeqLM.from_pretrained(path)
    for response, messages in zip(responses, PROMPTS, strict=True):
        inputs = tokenizer(messages[0].parts[0].text, return_tensors="pt")  # type: ignore[union-attr]
        with torch.inference_mode():
            ids = model.eval().generate(**inputs, do_sample=False, max_new_tokens=NEW)[0]
        assert response.text == streamed(tokenizer, ids).strip()
        assert response.usage.output == len(ids) - 1


def test_the_budget_of_tokens_follows_from_the_model(tiny: Path) -> None:
    model = loaded(tiny).family.model
    budget = token_budget(model)
    assert 2**12 <= budget == token_budget(model)
    model.config.hidden_size = 2**24
    assert 1 <= token_budget(model) < budget
