"""Whole configurations as plain functions: one file a published system or use.

Enters: a run folder, models or texts, settings. Leaves: the run folder filled, its summary.
May import: everything left of it.
Guarded by: tests/stories/test_demo.py, tests/contracts/test_stages.py.
"""
