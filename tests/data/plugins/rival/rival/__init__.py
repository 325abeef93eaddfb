"""Plugins that cannot be used."""


def words() -> str:
    """Nothing of use."""
    return "words"
