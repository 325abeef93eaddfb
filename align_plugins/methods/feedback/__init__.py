"""`feedback`: learning from language feedback, as a chain of stages.

The method of "Align Anything" (arXiv 2412.15838): a critic learns to say what is wrong with a response;
the policy answers, the critic speaks, the policy mends its answer; the mended answer is preferred over
the first one, and DPO or PPO learn from such pairs. `settings` has what it is told, `stages` where its
stages lie and when they are done, `answers` and `asking` how models and judges are asked, `steps` the
stages themselves, `filters` who says what is better, `pipeline` their order, `learning` what the
pairs are learned by.
"""
