"""Generation on this machine: checkpoints, batches, the decode loop, likelihoods."""
