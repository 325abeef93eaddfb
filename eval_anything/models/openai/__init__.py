"""Models on OpenAI-compatible servers: text, images, sound and clips, in and out.

`settings` is what the user chooses, `inputs` turns messages into a request, `endpoints` sends it,
`replies` and `streams` find the parts of what comes back, `payload` decodes their bytes, and `model`
is what the engine sees.
"""

from __future__ import annotations

from eval_anything.models.openai.model import ChatModel

__all__ = ["ChatModel"]
