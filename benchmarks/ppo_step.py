"""One PPO step, ours against TRL 1.12.0's (the last release that had it): seconds, peak memory, the same losses.

    python benchmarks/ppo_step.py [rounds]

8 episodes a step, 4 epochs, one minibatch of 8, 32 prompt and 64 new tokens, fp32, separate value and reward models
from the same files. Processes alternate; the first step of each does not count. "realistic": 32 episodes, half of which
end by themselves before the 64th token.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from setting import (
    END,
    NEW_TOKENS,
    PROMPT_TOKENS,
    VOCABULARY,
    finish,
    folders,
    medians,
    prompts_of,
    python_of,
    run_script,
)

from tutelage.algorithms.ppo import PPOConfig, ppo_loss
from tutelage.models.pretrained import load_causal_lm, load_sequence_classifier
from tutelage.policies.language import LanguagePolicy, SeparateCritic, ValueModel
from tutelage.trajectory import Batch, Key

STEPS = 4


def asked_of(size: str, where: Path, stops: bool, episodes: int) -> dict[str, Any]:
    return {
        **folders(size, where, 0.5 if stops else 0.0),
        "prompts": prompts_of(VOCABULARY[size]).tolist(),
        "episodes": episodes,
        "epochs": 4,
        "minibatches": 1,
        "new_tokens": NEW_TOKENS,
        "stops": stops,
        "steps": STEPS,
    }


def compared(asked: dict[str, Any], rounds: int) -> dict[str, float]:
    contenders = {"trl": (python_of("trl"), "trl_ppo.py"), "ours": (sys.executable, "our_ppo.py")}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, list[float]] = {f"{name}_bytes": [] for name in contenders}
    for number in range(rounds):
        for name, (python, script) in contenders.items():
            found = run_script(python, script, {**asked, "seed": number})
            seconds[name].append(statistics.median(found["seconds"][1:]))
            peaks[f"{name}_bytes"].append(found["peak_bytes"])
    return medians({**seconds, **peaks})


def loss_difference(asked: dict[str, Any], where: Path) -> float:
    """TRL's losses of its third update against ours, on TRL's own batch, targets and weights of that moment."""
    run_script(python_of("trl"), "trl_ppo.py", {**asked, "steps": 1, "seed": 0, "remember": 3, "folder": str(where)})
    kept = torch.load(where / "batch.pt", weights_only=True)
    policy, classifier = load_causal_lm(asked["policy"]), load_sequence_classifier(asked["classifier"])
    policy.load_state_dict(torch.load(where / "policy.pt", weights_only=True))
    classifier.load_state_dict(torch.load(where / "value.pt", weights_only=True))
    tokens, before = kept["mb_query_responses"], PROMPT_TOKENS - 1
    rows, steps = len(tokens), tokens.shape[1] - 1

    def placed(values: torch.Tensor, surplus: int = 0) -> torch.Tensor:
        whole = torch.zeros(rows, steps + surplus)
        whole[:, before : before + values.shape[1]] = values
        return whole

    mask = placed(torch.ones_like(kept["mb_logprobs"])).bool()
    targets = Batch(
        tokens,
        tokens[:, 1:],
        mask,
        placed(kept["mb_logprobs"]),
        torch.zeros(rows, steps),
        torch.full((rows,), steps),
        torch.ones(rows).bool(),
        torch.zeros(rows).bool(),
        tuple(Key(0, row) for row in range(rows)),
    ).with_extras(
        advantages=placed(kept["mb_advantage"]),
        returns=placed(kept["mb_return"]),
        old_log_probs=placed(kept["mb_logprobs"]),
        old_values=placed(kept["mb_values"], 1),
    )
    with torch.no_grad():
        sums = ppo_loss(PPOConfig(), SeparateCritic(LanguagePolicy(policy), ValueModel(classifier)), targets)
    policy_loss, value_loss = (float(sums[name] / targets.weight) for name in ("policy_loss", "value_loss"))
    print(f"losses of one update: policy {policy_loss:.6f} (TRL {float(kept['pg_loss']):.6f}), ", end="")
    print(f"value {value_loss:.6f} (TRL {float(kept['vf_loss']):.6f})")
    return max(abs(policy_loss - float(kept["pg_loss"])), abs(value_loss - float(kept["vf_loss"])))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows, answer = [], {}
    for name, size, stops, episodes in (
        ("1m", "1m", False, 8),
        ("15m", "15m", False, 8),
        ("15m_realistic", "15m", True, 32),
    ):
        with tempfile.TemporaryDirectory() as folder:
            asked = asked_of(size, Path(folder), stops, episodes)
            found = compared(asked, rounds)
            if name == "15m":
                answer["memory_over_trl_15m"] = found["ours_bytes"] / found["trl_bytes"]
                answer["loss_difference"] = loss_difference(asked, Path(folder))
        answer[f"ratio_trl_{name}"] = found["trl"] / found["ours"]
        sizes = [found[f"{who}_bytes"] / 2**30 for who in ("trl", "ours")]
        rows.append([name, found["trl"], found["ours"], found["trl"] / found["ours"], *sizes])
    finish(rows, ["step", "TRL, s", "ours, s", "ratio", "TRL, GiB", "ours, GiB"], answer)


if __name__ == "__main__":
    assert END == 1
    main()
