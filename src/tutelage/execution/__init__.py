"""Where work runs.

Enters: a policy, an environment, keys; rows and a loss. Leaves: batches of trajectories; one optimiser step.
May import: formulas, trajectory, data, environments, policies, rewards, feedback.
Guarded by: tests/contracts/test_samplers.py, tests/contracts/test_vllm.py, tests/equivalence/.
"""
