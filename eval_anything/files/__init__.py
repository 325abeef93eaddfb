"""Files of every kind: places, atomic writing, YAML, templates, hashes, code of content folders."""
