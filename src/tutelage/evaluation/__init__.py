"""How good a policy is, and how sure one can be.

Enters: replies of several policies to the same prompts, scores of them. Leaves: means, win rates, intervals.
May import: everything left of it.
Guarded by: tests/contracts/test_evaluation.py.
"""
