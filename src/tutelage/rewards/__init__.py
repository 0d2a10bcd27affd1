"""Trajectory -> score: reward models, functions of texts, and the gold scores of worlds where the truth is known.

Enters: a Batch. Leaves: [B, T] scores; the score of a whole reply stands at its last action.
May import: formulas, trajectory, data; neither environments nor policies.
Guarded by: tests/contracts/test_rewards.py, test_helpdesk.py, tests/equivalence/.
"""
