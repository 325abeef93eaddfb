"""A corpus of media as real programs write them, made from seeds, with the truth from ffmpeg.

`sources` draws pictures and sounds, `sounds`, `pictures` and `clips` list what programs make of them,
`truth` is what ffmpeg reads in a file, `readers` what ours do, `report` the table of docs/media.md.
"""
