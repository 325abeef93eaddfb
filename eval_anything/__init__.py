"""eval-anything: evaluation of any-to-any models (text, images, audio and video, in and out)."""

__version__ = "0.1.0"
