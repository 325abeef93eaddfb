"""The leaderboard: a static site built from runs. docs/leaderboard.md tells what is on its pages.

reading   the runs: which can be shown, and why others cannot
media     the files that pages show: copies by content, thumbnails, posters, waveforms
samples   the data of one run's samples, in chunks
prompts   what the samples asked, shared by all runs
board     the main table: columns, cells, which numbers can be compared
ranks     ranks as intervals
charts    drawings as trees of SVG
chunks    data as files that a page loads without a server
pages     index.html, and the site as one file
site      the folder: replaced as a whole, or not at all
build     all of it in order
"""
