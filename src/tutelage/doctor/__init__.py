"""What went wrong in a run, why, and what to do: one disease a page.

Enters: a run folder (events, samples, settings, summaries, comparisons) and its feedback store. Leaves: findings, each
with severity, onset, evidence, causes, a remedy as a change of settings, and what would confirm it.
May import: everything left of it but environments, policies and rewards; reads only.
Guarded by: tests/contracts/test_doctor.py.
"""
