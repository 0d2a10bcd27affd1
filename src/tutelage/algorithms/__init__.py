"""One page each, and the loop is the paper.

Enters: models, rows or a sampler, a run, a frozen config. Leaves: learned weights, recorded events.
May import: everything left of it; ppo and a2c know no concrete environment, policy or reward.
Guarded by: tests/stories/, tests/equivalence/, tests/architecture/.
"""
