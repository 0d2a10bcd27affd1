"""How strongly weights are held back, from what is held out."""

from __future__ import annotations


def adapted(
    coefficient: float,
    held_out_loss: float,
    train_loss: float,
    between: tuple[float, float] = (1.1, 1.5),
    factor: float = 1.25,
) -> float:
    """The ℓ2 coefficient that keeps held-out loss / training loss within `between` (Christiano et al. 2017, §2.2.3).

    Above: times factor, below: divided by it. It stays within 1e-8 and 1, so that it can always come back.
    """
    low, high = between
    ratio = held_out_loss / max(train_loss, 1e-12)
    changed = coefficient * factor if ratio > high else coefficient / factor if ratio < low else coefficient
    return min(1.0, max(1e-8, changed))
