"""The leaderboard: a static site built from runs. docs/leaderboard.md describes its pages.

read_runs   runs that can be shown, and the reasons why others cannot
media       files that pages show: copies named by their hash, thumbnails, posters
loudness    loudness of sounds, for playing two at the same level
samples     data of one run's samples, in chunks
prompts     prompts of the samples, shared by all runs
parts       parts of prompts and responses in the form that pages read
board       the main table: columns, cells, and the numbers that can be compared
ranks       ranks as intervals
cards       data of one run's page
charts      drawings as trees of SVG
overview    charts over several runs
reference   published numbers beside the measured ones
chunks      data as files that a page loads without a server
pages       index.html, and the site as one file
site        the folder of the site, replaced in one step
build       the whole build in order
"""
