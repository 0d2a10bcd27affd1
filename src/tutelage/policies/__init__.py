"""π(a|s) and V(s): what learns.

Enters: batches of trajectories; observations and noise. Leaves: log-probs, entropies and values; actions.
May import: formulas, trajectory, data. Not environments, not rewards.
Guarded by: tests/equivalence/test_language.py, tests/contracts/test_policies_control.py.
"""
