"""Files, folders, hubs and the world that ships -> records and tokens; bad rows are named by file and line.

Enters: paths, hub ids, texts. Leaves: records (records.py), rows, tokens, models and tokenizers as they are shared.
May import: formulas, trajectory.
Guarded by: tests/contracts/test_data.py, test_labels.py, test_columns.py, test_helpdesk.py, test_bad_input.py.
"""
