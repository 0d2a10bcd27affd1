"""A run folder as one HTML file that needs nothing else.

Enters: a run folder. Leaves: report.html. Owns the only sanitiser of model output: everything a model wrote is hostile.
May import: everything left of it; reads run folders only.
Guarded by: tests/contracts/test_report.py.
"""
