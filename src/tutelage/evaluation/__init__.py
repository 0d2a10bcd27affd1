"""How good a policy or a reward model is, and how sure one can be.

Enters: replies of several policies to the same prompts, scores of them; questions that people answered, scores of the
replies. Leaves: means, win rates, accuracies, calibration, ceilings, each with its interval.
May import: everything left of it.
Guarded by: tests/contracts/test_evaluation.py, tests/contracts/test_reward_model_reports.py.
"""
