"""Statistics that know nothing of runs: intervals, paired differences, agreement, aggregates."""
