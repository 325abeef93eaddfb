"""`feedback`: learning from language feedback, as a chain of stages.

The method of "Align Anything" (arXiv 2412.15838): a critic learns to criticise responses; the policy
responds, the critic criticises, the policy refines its response; the refined response is preferred over
the first one, and DPO or PPO learn from such pairs. `pipeline` has the order of the stages, `steps` the
stages, `stages` their files, `roles` the models and judges that are asked, `filters` the filters of
pairs, `run_method` runs other training methods as stages.
"""
