"""`ppo`: the trainer, its engine, rollouts, rewards, the actor-critic, and an alarm for rewards that
rise while the evaluated metric falls."""
