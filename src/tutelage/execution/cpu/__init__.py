"""Kernels for CPUs: oneDNN's matrix products, output layers packed for it, and the recorded decoding step.

They plug in behind `tutelage.models.kernels.Kernels`, are the default, and are off with TUTELAGE_KERNELS=plain. Nothing
else in the package refers to oneDNN or to torch.jit (tests/architecture).
"""
