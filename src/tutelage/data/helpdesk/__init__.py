"""The world that ships: customers with orders and problems, a desk with a written policy, replies of uneven quality.

Enters: a seed. Leaves: prompts, demonstrations, a tokenizer that covers every word of them. `policy.md` is the desk's
own text. Pure functions of the seed; all of it was written for this project.
May import: formulas, trajectory. Guarded by: tests/contracts/test_helpdesk.py.
"""
