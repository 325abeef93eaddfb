"""Two runs side by side: every metric, paired by sample, with its change and its interval."""
