"""`feedback`: learning from language feedback, as a chain of stages.

The method of "Align Anything" (arXiv 2412.15838): a critic learns to say what is wrong with a response;
the policy answers, the critic speaks, the policy mends its answer; the mended answer is preferred over
the first one, and DPO or PPO learn from such pairs. `pipeline` has the order of the stages, `steps` the
stages themselves, `stages` where their rows lie and when they are done, `roles` the models and judges
that are asked, `filters` the judges of which response is better, `run_method` the training methods that
are stages too.
"""
