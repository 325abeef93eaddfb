"""OpenAI-compatible servers: requests, replies, limits, prices."""
