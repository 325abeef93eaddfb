"""Imports of the process that commands of tests are forked from: what most of them use, once."""

from __future__ import annotations

import gc
from importlib import import_module
from pkgutil import walk_packages

from PIL import Image

_LIBRARIES = (
    *("aiohttp", "av.subtitles", "openai", "openai.resources", "pandas.io.formats.csvs"),
    *("scipy.signal", "transformers.trainer"),
    "transformers.models.llama.modeling_llama",
)
# Rooms of long imports that few commands need.
_LEFT_OUT = ("align_plugins.experiment", "eval_anything.lm_eval", "eval_anything.micro.making")

for name in _LIBRARIES:
    import_module(name)
for package in ("eval_anything", "align_plugins"):
    for module in walk_packages(import_module(package).__path__, f"{package}."):
        if not module.name.startswith(_LEFT_OUT) and not module.name.endswith("__main__"):
            import_module(module.name)
Image.init()
# Forks share these pages as long as nothing looks through them for garbage.
gc.collect()
gc.freeze()
