"""`ppo`: the trainer, its engine, rollouts, rewards, values, and an alarm for rewards that rise while
what they stand for falls."""
