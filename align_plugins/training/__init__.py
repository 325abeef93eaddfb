"""Parts that training methods share: engine, checkpoints, monitoring, metrics, sampling."""
