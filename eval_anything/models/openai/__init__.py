"""Models on OpenAI-compatible servers: text, images, sound and clips, in and out.

`settings` has the choices of the user, `inputs` turns messages into a request, `endpoints` sends it,
`replies` and `streams` find the parts of the reply, `payload` decodes their bytes, and `model` has the
class that the engine uses.
"""

from __future__ import annotations

from eval_anything.models.openai.model import ChatModel

__all__ = ["ChatModel"]
