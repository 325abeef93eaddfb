"""Generators of media: what they make, in which bounds, and how they fail."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Modality
from eval_anything.errors import UserError
from eval_anything.media import MediaStore, check_decodes, read_image, read_sound
from eval_anything.models.agent.generators.base import (
    BatchedGenerator,
    Generator,
    GeneratorContext,
    GeneratorError,
    Order,
)
from eval_anything.models.agent.generators.command import CommandGenerator, CommandSettings
from eval_anything.models.agent.generators.diffusers import DiffusersGenerator, DiffusersSettings
from eval_anything.models.agent.generators.drawn import DrawnGenerator, DrawnSettings
from eval_anything.models.agent.generators.model import ModelGenerator, ModelSettings
from tests.support.agent_server import plan, planner
from tests.support.agents import answers, need_espeak, request, write_agent
from tests.support.helpers import png, wav
from tests.support.scripted_server import completion, raw, serve


def made(generator: Generator, *orders: Order) -> list[bytes | GeneratorError]:
    async def make() -> list[bytes | GeneratorError]:
        try:
            return await BatchedGenerator(generator).make(orders)
        finally:
            await generator.close()

    generator.load()
    return asyncio.run(make())


def command(tmp_path: Path, *words: str, **more: Any) -> CommandGenerator:
    place = GeneratorContext(Modality.AUDIO, tmp_path, "audio")
    return CommandGenerator(CommandSettings(kind="command", command=list(words), **more), place)


def python(tmp_path: Path, code: str, *words: str, **more: Any) -> CommandGenerator:
    return command(tmp_path, sys.executable, "-c", code, *words, **more)


WRITES = "import sys; open(sys.argv[1], 'w').write(repr(sys.argv[2:]))"
HOSTILE = [
    "$(touch /tmp/x) `id`; 'a\" \\ \n|",
    "--help",
    "-f/etc/passwd",
    "{out} {seed}",
    "ünï 灯塔",
    "",
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_command_gets_the_prompt_as_it_is(prompt: str, tmp_path: Path) -> None:
    generator = python(tmp_path, WRITES, "{out}.wav", "{seed}", "--", "{prompt}")
    assert made(generator, Order(prompt, 7)) == [repr(["7", "--", prompt]).encode()]
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    assert made(python(tmp_path, code, stdin=True), Order(prompt, 7)) == [prompt.encode()]


def test_a_program_of_a_virtual_environment_keeps_it(tmp_path: Path) -> None:
    """Its Python is a link to another one, and only its own place says which packages it has."""
    home = Path(sys._base_executable).parent  # type: ignore[attr-defined]
    packages = (
        tmp_path / "venv/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    )
    packages.mkdir(parents=True)
    (packages / "only_here.py").write_text("WORD = 'mine'")
    program = tmp_path / "venv/bin/python"
    program.parent.mkdir()
    program.symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    (tmp_path / "venv/pyvenv.cfg").write_text(f"home = {home}\n")
    code = "import only_here, sys; open(sys.argv[1], 'w').write(only_here.WORD)"
    for name in (str(program), "venv/bin/python"):
        generator = command(tmp_path, name, "-c", code, "{out}", "--", "{prompt}")
        assert made(generator, Order("draw", 7)) == [b"mine"]


def test_a_prompt_with_a_nul_or_too_long_fails_that_order_alone(tmp_path: Path) -> None:
    generator = python(tmp_path, WRITES, "{out}", "--", "{prompt}")
    first, second, third = made(generator, Order("a\0b", 0), Order("x" * 10**6, 0), Order("ok", 0))
    assert first == repr(["--", "a b"]).encode()
    assert isinstance(second, GeneratorError)
    assert third == repr(["--", "ok"]).encode()


FAULTS: dict[str, tuple[str, list[str], dict[str, Any], str]] = {
    "exit code": ("import sys; sys.exit('no voice found')", [], {}, "ended with 1: no voice found"),
    "no file": ("pass", ["{out}"], {}, "wrote nothing instead of one file"),
    "too long": ("import time; time.sleep(60)", [], {"seconds": 0.5}, "took more than 0.5 s"),
    "too much on stdout": ("print('x' * 10**6)", [], {"megabytes": 0.1}, "wrote more than 0.1 MB"),
    "no end on stdout": (
        "while True: print('x' * 10**6)",
        [],
        {"megabytes": 0.1},
        "wrote more than 0.1 MB",
    ),
    "no end on stderr": (
        "import sys\nwhile True: print('x' * 10**6, file=sys.stderr)",
        [],
        {"megabytes": 0.1},
        "python",
    ),
    "too much in a file": (
        "import sys; open(sys.argv[1], 'wb').write(bytes(10**6))",
        ["{out}"],
        {"megabytes": 0.1},
        "python",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_command(fault: str, tmp_path: Path) -> None:
    code, words, more, said = FAULTS[fault]
    start = time.perf_counter()
    [error] = made(python(tmp_path, code, *words, stdin=True, **more), Order("x" * 10**6, 0))
    assert isinstance(error, GeneratorError)
    assert said in str(error)
    assert time.perf_counter() - start < 10


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '60']);"
        f"open({str(note)!r}, 'w').write(str(child.pid)); child.wait()"
    )
    [error] = made(python(tmp_path, code, stdin=True, seconds=1.5), Order("x", 0))
    assert "took more than" in str(error)
    time.sleep(0.2)
    state = Path(f"/proc/{note.read_text()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_espeak_ng_speaks(tmp_path: Path) -> None:
    need_espeak()
    generator = command(tmp_path, "espeak-ng", "--stdin", "-w", "{out}", stdin=True)
    short, long = made(generator, Order("Hello.", 0), Order("Hello, hello, hello, and goodbye.", 0))
    assert isinstance(short, bytes)
    assert isinstance(long, bytes)
    assert len(long) > 1.5 * len(short)
    part = MediaStore(tmp_path).put(long, Modality.AUDIO)
    assert abs(read_sound(part.path).samples).max() > 0.05


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_what_is_drawn_depends_on_prompt_and_seed_alone(modality: str, tmp_path: Path) -> None:
    def draw(prompt: str, seed: int) -> bytes:
        place = GeneratorContext(Modality(modality), tmp_path, modality)
        [medium] = made(DrawnGenerator(DrawnSettings(kind="drawn", size=64), place), Order(prompt, seed))
        assert isinstance(medium, bytes)
        return medium

    one = draw("three red circles", 1)
    assert draw("three red circles", 1) == one
    assert len({one, draw("three red circles", 2), draw("a green star", 1), draw("", 1)}) == 4
    check_decodes(MediaStore(tmp_path).put(one, Modality(modality)))


def test_what_is_drawn_has_the_colour_and_number_of_the_prompt(tmp_path: Path) -> None:
    place = GeneratorContext(Modality.IMAGE, tmp_path, "image")
    generator = DrawnGenerator(DrawnSettings(kind="drawn"), place)
    shares = []
    for prompt in ("a red circle", "three red circles", "a blue circle"):
        [medium] = made(generator, Order(prompt, 3))
        assert isinstance(medium, bytes)
        pixels = read_image(MediaStore(tmp_path).put(medium, Modality.IMAGE).path)
        shares.append((pixels == (214, 40, 40)).all(axis=2).mean())
    assert shares[2] == 0 < shares[0] < shares[1]


class Counting(Generator):
    """Notes its batches; fails for the prompt "bad"."""

    def __init__(self, batch_size: int, concurrency: int) -> None:
        self.batch_size, self.concurrency = batch_size, concurrency
        self.batches: list[int] = []
        self.at_once = self.most = 0

    def weights(self) -> str:
        return ""

    async def generate(self, orders: Any) -> list[bytes]:
        self.batches.append(len(orders))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if any(order.prompt == "bad" for order in orders):
            raise RuntimeError("out of paint")
        return [order.prompt.encode() for order in orders]


def test_batches_and_places_of_a_generator() -> None:
    generator = Counting(4, 2)
    orders = [Order("bad" if n == 5 else str(n), n) for n in range(14)]
    results = made(generator, *orders)
    assert [r for r in results if isinstance(r, bytes)] == [str(n).encode() for n in range(14) if n != 5]
    assert str(results[5]) == "RuntimeError: out of paint"
    assert sorted(generator.batches) == [1, 1, 1, 1, 2, 4, 4, 4]
    assert generator.most == 2


MEETS = """
import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
while not other.exists():
    time.sleep(0.01)
sys.exit("both are here")
"""


def test_generators_work_at_the_same_time(tmp_path: Path) -> None:
    def waits(mine: str, other: str) -> dict[str, Any]:
        words = [sys.executable, "-c", MEETS, str(tmp_path / mine), str(tmp_path / other)]
        return {"kind": "command", "command": words, "stdin": True, "seconds": 30}

    with serve(planner({"fox": plan(image="a fox", audio="snoring")})) as server:
        places = {"image": waits("a", "b"), "audio": waits("b", "a")}
        [response] = answers(write_agent(tmp_path, server.spec(), places, form="tools"), request())
    assert str(response.error).count("both are here") == 2


def test_each_part_and_sample_has_its_own_seed(tmp_path: Path) -> None:
    twice = (*plan(image="a fox"), *plan(image="a fox"))
    with serve(planner({"fox": twice})) as server:
        file = write_agent(tmp_path, server.spec(), form="tools")
        asked = [request(id_="s0"), request(id_="s1"), request(id_="s0"), request(id_="s0", seed=1)]
        hashes = [[part.sha256 for part in r.parts] for r in answers(file, *asked)]  # type: ignore[union-attr]
    assert hashes[0] == hashes[2]
    assert len({h for pair in hashes for h in pair}) == 6


@pytest.mark.parametrize(("api", "modality"), [("images", "image"), ("speech", "audio")])
def test_a_server_is_a_generator(api: str, modality: str, tmp_path: Path) -> None:
    import base64

    medium = png() if api == "images" else wav()
    body = json.dumps({"data": [{"b64_json": base64.b64encode(medium).decode()}]}).encode()
    reply = raw(body) if api == "images" else raw(medium, "audio/wav")
    with serve(lambda number, body: reply) as server:
        settings = ModelSettings(model=server.spec("painter"), arguments={"api": api})
        generator = ModelGenerator(settings, GeneratorContext(Modality(modality), tmp_path, modality))
        assert made(generator, Order("a cat", 1), Order("a dog", 2)) == [medium, medium]
    assert {b.get("prompt", b.get("input")) for b in server.bodies} == {"a cat", "a dog"}


def test_a_model_that_gives_no_medium_says_what_it_gave(tmp_path: Path) -> None:
    with serve(lambda number, body: raw(completion({"role": "assistant", "content": "no"}))) as server:
        settings = ModelSettings(model=server.spec())
        generator = ModelGenerator(settings, GeneratorContext(Modality.IMAGE, tmp_path, "image"))
        [error] = made(generator, Order("a cat", 1))
    assert str(error) == "no image, but: no"


@pytest.mark.slow
def test_any_local_model_is_a_generator(tmp_path: Path) -> None:
    """The embedded model draws what its world has."""
    generator = ModelGenerator(
        ModelSettings(model="micro"), GeneratorContext(Modality.IMAGE, tmp_path, "image")
    )
    prompts = ["Draw a red circle top left.", "Draw a blue square bottom right."]
    media = made(generator, *(Order(prompt, 0) for prompt in prompts))
    assert all(isinstance(m, bytes) for m in media), media


@pytest.mark.slow
def test_diffusers_paints(tmp_path: Path) -> None:
    folder = tiny_diffusion(tmp_path / "sd")
    place = GeneratorContext(Modality.IMAGE, tmp_path, "image")

    def paint(**more: Any) -> DiffusersGenerator:
        small = {"num_inference_steps": 2, "height": 32, "width": 32}
        settings = DiffusersSettings(kind="diffusers", pipeline="sd", **{"arguments": small, **more})
        return DiffusersGenerator(settings, place)

    orders = [Order("a cat", 1), Order("a cat", 2), Order("a cat", 1)]
    one_by_one = made(paint(), *orders)
    assert one_by_one[0] == one_by_one[2] != one_by_one[1]
    together = made(paint(batch_size=3), *orders)
    assert all(isinstance(medium, bytes) for medium in together)
    for medium in (one_by_one[0], together[1]):
        assert isinstance(medium, bytes)
        assert read_image(MediaStore(tmp_path).put(medium, Modality.IMAGE).path).shape == (32, 32, 3)
    with pytest.raises(UserError, match="num_inference_steps"):
        paint(arguments={"num_inference_step": 2}).load()
    before = paint().weights()
    weights = bytearray((folder / "unet/diffusion_pytorch_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "unet/diffusion_pytorch_model.safetensors").write_bytes(weights)
    assert paint().weights() != before


def tiny_diffusion(path: Path) -> Path:
    """A Stable Diffusion of some 100k parameters, made from configs."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.support.tiny import tiny_tokenizer

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 16
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=16, bos_token_id=1, eos_token_id=2,
        pad_token_id=2,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=16,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=2,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False), feature_extractor=None,
        safety_checker=None, requires_safety_checker=False,
    ).save_pretrained(path)  # fmt: skip
    return path
