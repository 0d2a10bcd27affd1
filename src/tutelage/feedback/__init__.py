"""What people say, and who says it. No web code here.

Enters: questions about candidates. Leaves: choices, with the labeller and the order shown, kept in a store (store.py).
May import: formulas, trajectory, data, environments, policies, rewards.
Guarded by: tests/contracts/test_labellers.py, test_store.py.
"""
