"""What happened: one folder a run, with a public schema (docs/schema.md).

Enters: settings, metrics, samples, a summary. Leaves: files that anyone can read, progress on the terminal.
May import: formulas, trajectory, data, feedback, execution; no environment, policy or reward.
Guarded by: tests/contracts/test_runs.py, tests/docs/test_schema.py.
"""
