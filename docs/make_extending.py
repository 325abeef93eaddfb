"""Writes docs/extending.md from the table of plugins and the package in examples/plugin.

python docs/make_extending.py
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from eval_anything import plugins

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "examples/plugin"

PAGE = """\
# Adding to eval-anything

<!-- Written by docs/make_extending.py: change that, eval_anything/plugins.py or examples/plugin. -->

An installed package adds objects by entry points, which its pyproject.toml lists. A user asks for an
object by its name; nothing of the package is imported before that. The objects of eval-anything itself
are registered in the same way.

| entry-point group | what it adds | it must be |
|---|---|---|
{rows}

- A package that does not import affects only its own names. Asking for one of them is an error with the
  package and the reason; `eval-anything doctor` lists the objects of other packages and their problems.
- Asking for a name that two packages use is an error that names both. The names of
  eval-anything cannot be taken.

## A package with a model, a kind of judge and a training method

[examples/plugin](../examples/plugin) is a complete package, which the tests install and use:

    pip install ./examples/plugin

`pyproject.toml`:

```toml
{pyproject}```

### A model

```bash
eval-anything run --model parrot --model-arg times=2 --tasks open/selection
```

An answer must depend only on its request and the request's seed, not on the rest of a batch.
`weights` decides whether a stopped run can be resumed. `eval_anything.Model` documents the exceptions
that the methods may raise. A single model needs no package: `ea.evaluate(MyModel(...))`
([Python](python.md)).

```python
{model}```

`tests/test_parrot.py`: `check_model` asks the model as a run would, and names the promise that a class
breaks. It takes a SPEC, or a function that makes a model that has no name; our own models pass it too.

```python
{test_parrot}```

### A kind of judge

```yaml
version: 1
kind: length
title: Short enough
description: Whether a response is short enough.
sees: [text]
longest: 50
metrics: {{short: {{range: [0, 1]}}}}
```

The class of the file has the keys of such a judge.yaml: a wrong or unknown one is reported with its
line. A single judge needs no package: code in its folder is of kind `program`
([judges](../judges/README.md)).

```python
{judge}```

### A training method

```bash
eval-anything train nudge --config nudge.yaml size=0.05
```

`nudge.yaml` has `model`, `data` and `out`, as for every method, and `size`. A method that learns from
rows is composed of parts from `align_plugins.training`, like `align_plugins/methods/sft.py`
([Training](training.md)).

```python
{trainer}```
"""


def page() -> str:
    """The text of docs/extending.md."""
    sources = {path.stem: path.read_text("utf-8") for path in PACKAGE.glob("*/*.py")}
    return PAGE.format(
        rows="\n".join(map(_row, plugins.GROUPS)),
        pyproject=(PACKAGE / "pyproject.toml").read_text("utf-8"),
        **{name: sources[name] for name in ("model", "test_parrot", "judge", "trainer")},
    )


def _row(group: plugins.Group) -> str:
    module, _, name = group.interface.partition(":")
    is_class = isinstance(getattr(import_module(module), name), type)
    must_be = f"{'a subclass of' if is_class else 'a function of type'} `{module}.{name}`"
    return f"| `{group.name}`<br>`{group.example}` | {group.about} | {must_be} |"


if __name__ == "__main__":
    (ROOT / "docs/extending.md").write_text(page(), "utf-8")
