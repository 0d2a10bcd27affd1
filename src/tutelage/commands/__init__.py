"""One file a verb: its settings, which are its flags, and what it does.

Enters: settings and a run, or a command line's words. Leaves: a summary, or an exit code.
May import: everything but cli.
Guarded by: tests/contracts/test_cli.py, tests/contracts/test_bad_input.py.
"""
