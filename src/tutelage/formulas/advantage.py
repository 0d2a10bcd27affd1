"""How much better an action was than the policy's average: generalised advantage estimation."""

from __future__ import annotations

import torch
from torch import Tensor


def generalised(
    rewards_BT: Tensor,
    values_BS: Tensor,
    mask_BT: Tensor,
    lengths_B: Tensor,
    terminated_B: Tensor,
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """(advantages_BT, returns_BT) after Schulman et al. 2016, eq. 16, over decisions; 0 where not masked.

        δ_t = r_t + γ V(s_t') − V(s_t)      A_t = δ_t + γλ A_t'      R_t = A_t + V(s_t)

    t' is the policy's next action. Steps that it did not choose (its prompt, the other side's words) are no decisions:
    neither γ nor λ decays across them, and what is paid at them belongs to the action before. After the last action
    comes the state s_length: worth 0 where nothing more is paid (terminated_B), V where a time limit cut rewards off.

    rewards_BT, mask_BT: [B, T]; values_BS: [B, T+1]; lengths_B, terminated_B: [B]
    """
    steps = rewards_BT.shape[1]
    values_BS, rewards_BT = values_BS.detach(), rewards_BT.detach()
    final_B = values_BS.gather(1, lengths_B[:, None])[:, 0]
    next_value_B = torch.where(terminated_B, torch.zeros_like(final_B), final_B)
    next_advantage_B, paid_B = torch.zeros_like(next_value_B), torch.zeros_like(next_value_B)
    advantages_BT = torch.zeros_like(rewards_BT)
    for t in reversed(range(steps)):
        acted_B, within_B = mask_BT[:, t], t < lengths_B
        paid_B = paid_B + torch.where(within_B, rewards_BT[:, t], 0.0)
        delta_B = paid_B + gamma * next_value_B - values_BS[:, t]
        advantage_B = delta_B + gamma * gae_lambda * next_advantage_B
        advantages_BT[:, t] = torch.where(acted_B, advantage_B, 0.0)
        next_advantage_B = torch.where(acted_B, advantage_B, next_advantage_B)
        next_value_B = torch.where(acted_B, values_BS[:, t], next_value_B)
        paid_B = torch.where(acted_B, 0.0, paid_B)
    returns_BT = torch.where(mask_BT, advantages_BT + values_BS[:, :-1], 0.0)
    return advantages_BT, returns_BT
