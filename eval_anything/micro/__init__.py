"""The micro world: an embedded procedural world in which perception is exact.

Pictures, sounds and clips of this world are described completely by a few attributes, tied to each
other by laws, so a program can say without error what a generated medium shows. `world` has the facts,
`render` makes files, `perceive` reads files back, `codec` turns parts into tokens of the tiny model
`micro`, `families` has the grammar of prompts.
"""
