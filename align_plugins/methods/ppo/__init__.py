"""What learning from a policy's own answers needs beside the loss: rewards, values, rollouts, an engine,
and an alarm for rewards that rise while what they stand for falls."""
