"""Evaluates a model that is a Python object: here one that answers every request with one sentence.

python examples/own_model.py
"""

from collections.abc import Sequence

import eval_anything as ea


class Parrot(ea.Model):
    """Repeats what it is asked. A real model would call its own generation here."""

    name = "parrot"
    batch_size = 8

    def weights(self) -> str:
        return "parrot version 1"  # what a resumed run must find unchanged: a hash of real weights

    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> list[ea.Response]:
        # store.put(png_bytes, ea.Modality.IMAGE) makes a part of generated media.
        return [ea.Response((ea.TextPart(request.messages[-1].text),)) for request in requests]


run = ea.evaluate(Parrot(), tasks="open/selection", limit=20, out="runs/parrot")
selection = run.results.tasks["open/selection"].main
print(f"selection {selection.value:.2f} of {selection.n} samples; it never draws, sings or films")
