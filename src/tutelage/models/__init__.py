"""Neural networks as they are loaded: trust, adapters, heads, the numbers of their forward passes.

Enters: folders and hub ids. Leaves: modules, ready to be a policy, a critic or a reward model.
May import: formulas, trajectory, data.
Guarded by: tests/contracts/test_families.py, tests/contracts/test_adapters.py,
tests/equivalence/test_kernels.py.
"""
