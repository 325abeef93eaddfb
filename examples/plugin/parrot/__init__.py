"""A model, a kind of judge and a training method for eval-anything (docs/extending.md)."""
