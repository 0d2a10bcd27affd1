"""P(s'|s, a): where a policy acts.

Enters: a key, then actions (a turn of tokens; a button or torques). Leaves: first observation, then steps.
May import: formulas, trajectory, data. Not policies, not rewards.
Guarded by: tests/contracts/test_environments.py.
"""
