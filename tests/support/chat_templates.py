"""Chat templates of well-known families, written anew from what they render, and checkpoints with them.

`python -m tests.support.chat_templates` writes the table of docs/chat_templates.md. What stands before
and after an answer is from the published templates of these families (tokenizer_config.json or
chat_template.jinja of their repositories).
"""

# ruff: noqa: RUF001  # the marks of DeepSeek are written with a wide bar

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple


class ChatTemplate(NamedTuple):
    """The template of a family.

    Attributes:
        template: as Jinja.
        special: its control tokens.
        stop: tokens that end an answer, of the generation config.
        ends_with: what the prompt for an answer ends with.
        head: what a model writes before an answer.
        end: the token that ends an answer.
        plain: tokens that are added and no control tokens, such as marks of thoughts.
        system: whether it takes a system message.
    """

    template: str
    special: Sequence[str]
    stop: Sequence[str]
    ends_with: str
    head: str = ""
    end: str = "<|im_end|>"
    plain: Sequence[str] = ()
    system: bool = True


_IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_THINK = ("<think>", "</think>")


_CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# Thoughts of earlier turns are dropped, the last answer has a block of them, be it empty.
_QWEN3 = """\
{%- set ns = namespace(asked=-1) -%}
{%- for m in messages -%}
  {%- if m.role == 'user' %}{% set ns.asked = loop.index0 %}{% endif -%}
{%- endfor -%}
{%- for m in messages -%}
  {%- set answer, thoughts = m.content, '' -%}
  {%- if m.role == 'assistant' and '</think>' in answer -%}
    {%- set thoughts = answer.split('</think>')[0].split('<think>')[-1].strip('\\n') -%}
    {%- set answer = answer.split('</think>')[-1].lstrip('\\n') -%}
  {%- endif -%}
  {{- '<|im_start|>' + m.role + '\\n' -}}
  {%- if m.role == 'assistant' and loop.index0 > ns.asked and (loop.last or thoughts) -%}
    {{- '<think>\\n' + thoughts + '\\n</think>\\n\\n' -}}
  {%- endif -%}
  {{- answer + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}"""


_SMOLLM3 = """\
{%- set system = messages[0].content if messages[0].role == 'system' else '' -%}
{%- set block = '<think>\\n\\n</think>\\n' if '/no_think' in system else '' -%}
{{- '<|im_start|>system\\n' + system.replace('/no_think', '').strip() + '<|im_end|>\\n' -}}
{%- for m in messages if m.role != 'system' -%}
  {{- '<|im_start|>' + m.role + '\\n' + (block if m.role == 'assistant' else '') -}}
  {{- m.content.lstrip('\\n') + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' + block }}{% endif -%}"""


_DEEPSEEK_R1 = """\
{{- '<｜begin▁of▁sentence｜>' -}}
{%- for m in messages if m.role == 'system' %}{{ m.content }}{% endfor -%}
{%- for m in messages -%}
  {%- if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% endif -%}
  {%- if m.role == 'assistant' -%}
    {{- '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif -%}"""


_LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


_LLAMA2 = """\
{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
  {%- if m.role == 'system' -%}
    {%- set ns.system = '<<SYS>>\\n' + m.content + '\\n<</SYS>>\\n\\n' -%}
  {%- elif m.role == 'user' -%}
    {{- '<s>[INST] ' + (ns.system + m.content).strip() + ' [/INST]' -}}
    {%- set ns.system = '' -%}
  {%- else %}{{ ' ' + m.content.strip() + ' </s>' }}{% endif -%}
{%- endfor -%}"""


# The system message goes before the last question, but only while no answer follows it.
_MISTRAL3 = """\
{%- set system = messages[0].content if messages[0].role == 'system' else '' -%}
{{- '<s>' -}}
{%- for m in messages if m.role != 'system' -%}
  {%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('user and assistant must take turns') -}}
  {%- endif -%}
  {%- if m.role == 'assistant' %}{{ ' ' + m.content.strip() + '</s>' }}
  {%- elif loop.last and system %}{{ '[INST] ' + system + '\\n\\n' + m.content + '[/INST]' }}
  {%- else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif -%}
{%- endfor -%}"""


_MISTRAL7 = """\
{{- '<s>' -}}
{%- for m in messages -%}
  {%- if m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
  {%- elif m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}
  {%- elif m.role == 'assistant' %}{{ m.content + '</s>' }}
  {%- else %}{{ raise_exception('a role that is not known') }}{% endif -%}
{%- endfor -%}"""


_GEMMA2 = """\
{{- '<bos>' -}}
{%- for m in messages -%}
  {%- if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif -%}
  {%- set role = 'model' if m.role == 'assistant' else 'user' -%}
  {{- '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}"""


_GEMMA3 = """\
{%- set system = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' -%}
{{- '<bos>' -}}
{%- for m in messages if m.role != 'system' -%}
  {%- set role = 'model' if m.role == 'assistant' else 'user' -%}
  {{- '<start_of_turn>' + role + '\\n' + (system if loop.first else '') -}}
  {{- m.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}"""


_PHI3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}<|endoftext|>{% endif %}"
)


_PHI4 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"
)


_HARMONY = """\
{{- '<|start|>system<|message|>Reasoning: low\\n# Valid channels: analysis, final.<|end|>' -}}
{%- for m in messages -%}
  {%- if m.role == 'assistant' -%}
    {%- if '<|channel|>' in m.content %}{{ raise_exception('channel tags in the content') }}{% endif -%}
    {{- '<|start|>assistant<|channel|>final<|message|>' + m.content -}}
    {{- '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' -}}
  {%- else -%}
    {%- set role = 'developer' if m.role == 'system' else m.role -%}
    {{- '<|start|>' + role + '<|message|>' + m.content + '<|end|>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif -%}"""


_GLM4 = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


_GLM45 = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' %}<think></think>\n{{ m.content.split('</think>')[-1].strip() }}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


_COMMAND_R = """\
{%- set roles = {'user': 'USER', 'assistant': 'CHATBOT', 'system': 'SYSTEM'} -%}
{{- '<BOS_TOKEN>' -}}
{%- for m in messages -%}
  {{- '<|START_OF_TURN_TOKEN|><|' + roles[m.role] + '_TOKEN|>' + m.content.strip() -}}
  {{- '<|END_OF_TURN_TOKEN|>' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif -%}"""


_ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


_VICUNA = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }} {% elif m.role == 'user' %}"
    "USER: {{ m.content }} {% else %}ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


_GLM_TOKENS = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
_GLM_STOP = ("<|endoftext|>", "<|user|>", "<|observation|>")
_TURN = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")


TEMPLATES = {
    "ChatML (Qwen2.5)": ChatTemplate(_CHATML, _IM, _IM[1:], "<|im_start|>assistant\n"),
    "Qwen3": ChatTemplate(
        _QWEN3, _IM, _IM[1:], "<|im_start|>assistant\n", "<think>\n\n</think>\n\n", plain=_THINK
    ),
    "Qwen3-Thinking": ChatTemplate(
        _QWEN3.replace("assistant\\n' }}", "assistant\\n<think>\\n' }}"), _IM, _IM[1:],
        "<|im_start|>assistant\n<think>\n", "\n</think>\n\n", plain=_THINK,
    ),
    "Qwen3, thoughts off": ChatTemplate(
        _QWEN3.replace("assistant\\n' }}", "assistant\\n<think>\\n\\n</think>\\n\\n' }}"), _IM, _IM[1:],
        "<|im_start|>assistant\n<think>\n\n</think>\n\n", plain=_THINK,
    ),
    "SmolLM3": ChatTemplate(_SMOLLM3, _IM, _IM[1:2], "<|im_start|>assistant\n", plain=_THINK),
    "DeepSeek-R1": ChatTemplate(
        _DEEPSEEK_R1,
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        ("<｜end▁of▁sentence｜>",),
        "<｜Assistant｜><think>\n",
        "\n</think>\n\n",
        "<｜end▁of▁sentence｜>",
        plain=_THINK,
    ),
    "Llama 3": ChatTemplate(
        _LLAMA3,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
         "<|start_header_id|>", "<|end_header_id|>"),
        ("<|end_of_text|>", "<|eot_id|>"),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
    ),
    "Llama 2": ChatTemplate(_LLAMA2, (), ("</s>",), " [/INST]", " ", "</s>"),
    "Mistral v3": ChatTemplate(_MISTRAL3, ("[INST]", "[/INST]"), ("</s>",), "[/INST]", " ", "</s>"),
    "Mistral v7": ChatTemplate(
        _MISTRAL7, ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), ("</s>",), "[/INST]",
        end="</s>",
    ),
    "Gemma 2": ChatTemplate(
        _GEMMA2, _TURN, ("<eos>", "<end_of_turn>"), "<start_of_turn>model\n", end="<end_of_turn>",
        system=False,
    ),
    "Gemma 3": ChatTemplate(
        _GEMMA3, _TURN, ("<eos>", "<end_of_turn>"), "<start_of_turn>model\n", end="<end_of_turn>"
    ),
    "Phi-3": ChatTemplate(
        _PHI3, ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        ("<|endoftext|>", "<|assistant|>", "<|end|>"), "<|assistant|>\n", end="<|end|>",
    ),
    "Phi-4": ChatTemplate(
        _PHI4, (*_IM, "<|im_sep|>"), ("<|endoftext|>", "<|im_end|>"), "<|im_start|>assistant<|im_sep|>"
    ),
    "gpt-oss (Harmony)": ChatTemplate(
        _HARMONY,
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>",
         "<|endoftext|>"),
        ("<|return|>", "<|endoftext|>", "<|call|>"),
        "<|start|>assistant",
        "<|channel|>final<|message|>",
        "<|return|>",
    ),
    "GLM-4": ChatTemplate(
        _GLM4, ("<|endoftext|>", *_GLM_TOKENS), _GLM_STOP, "<|assistant|>", "\n", "<|endoftext|>"
    ),
    "GLM-4.5": ChatTemplate(
        _GLM45, ("<|endoftext|>", *_GLM_TOKENS), _GLM_STOP, "<|assistant|>", "\n<think></think>\n",
        "<|endoftext|>", plain=_THINK,
    ),
    "Command R": ChatTemplate(
        _COMMAND_R,
        ("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
         "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
        ("<|END_OF_TURN_TOKEN|>",),
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        end="<|END_OF_TURN_TOKEN|>",
    ),
    "Zephyr": ChatTemplate(_ZEPHYR, (), ("</s>",), "<|assistant|>\n", end="</s>"),
    "Vicuna": ChatTemplate(_VICUNA, (), ("</s>",), "ASSISTANT:", " ", "</s>"),
}  # fmt: skip
"""Twenty templates by the name of their family."""


_ROWS = 512  # of embeddings: one set of weights fits every tokenizer


def tiny_weights(path: Path) -> Path:
    """Weights of a tiny Llama that go with the tokenizer of any template, saved at `path`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_ROWS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def tiny_checkpoint(path: Path, weights: Path, chat: ChatTemplate, **more: Any) -> Path:
    """A checkpoint of these weights with the tokenizer and the end tokens of a template."""
    from tokenizers import AddedToken

    from tests.support.tiny import tiny_tokenizer

    shutil.copytree(weights, path)
    tokenizer = tiny_tokenizer(tuple(t for t in chat.special if t not in ("<s>", "</s>")), **more)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in chat.plain])
    tokenizer.chat_template = chat.template
    tokenizer.save_pretrained(path)
    generation = path / "generation_config.json"
    stop = tokenizer.convert_tokens_to_ids(list(chat.stop))
    generation.write_text(json.dumps({**json.loads(generation.read_text()), "eos_token_id": stop}))
    return path


ANSWERS = ("hi", "a", "<")
"""Short answers that are also pieces of templates."""


_TABLE = Path(__file__).parents[2] / "docs" / "chat_templates.md"


def tiny_policies(folder: Path) -> dict[str, Any]:
    """A loaded policy for each template, of checkpoints that are made in `folder`."""
    from align_plugins.policies import policy_of

    weights = tiny_weights(folder / "weights")
    policies = {}
    for number, (name, chat) in enumerate(TEMPLATES.items()):
        policies[name] = policy_of(str(tiny_checkpoint(folder / str(number), weights, chat)))
        policies[name].load()
    return policies


def table(policies: Mapping[str, Any]) -> str:
    """The rows of the table of learned tokens, as Markdown."""
    from eval_anything.content import Message, TextPart

    lines = []
    escaped = partial(json.dumps, ensure_ascii=False)
    for name, policy in policies.items():
        tokenizer = policy._family.tokenizer
        cells = [f"`{escaped(TEMPLATES[name].ends_with)[1:-1]}`"]
        for answer in ANSWERS:
            row = policy.encode((Message("user", (TextPart("What?"),)),), (TextPart(answer),))
            tokens = [escaped(tokenizer.decode([token]))[1:-1] for token in row.response]
            cells.append(" ".join(f"`{token}`" for token in tokens))
        lines.append(f"| {name} | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        before, rule, _ = _TABLE.read_text("utf-8").partition("|---|---|---|---|---|\n")
        _TABLE.write_text(f"{before}{rule}{table(tiny_policies(Path(folder)))}\n", "utf-8")


if __name__ == "__main__":
    main()
