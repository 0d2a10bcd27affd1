"""One place that trains: `train` builds schedule and learner, checks first, calls an algorithm's page, saves.

Enters: an algorithm, its settings, a task, models, an engine, a run. Leaves: trained models in the run's folder.
May import: everything but report, recipes, studio, commands.
Guarded by: tests/contracts/test_train.py, tests/contracts/test_stages.py.
"""
