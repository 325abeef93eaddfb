"""A model as several replicas, which answer batches at the same time."""
