"""Output for people: progress, tables, Markdown."""
