"""Every formula once, pure: tensors in, tensors out, each with its equation.

Enters: tensors and numbers. Leaves: tensors and numbers; nothing is read, written or remembered.
May import: torch, numpy, scipy and itself.
Guarded by: tests/formulas/, tests/architecture/.
"""
