"""Generation with local weights: checkpoints, batches, the decode loop, likelihoods."""
