"""Loss and gradients of our algorithms beside TRL's (1.16), on one batch: a table, and exit code 1 where they differ.

    python benchmarks/parity_trl.py --peer /path/to/trl/bin/python

The peer has `trl==1.16.*`. Both sides read one batch (left-padded there, right-padded here), take their old
log-probs from one model and take the loss at another, against a third as the reference, in fp32. Compared are the
losses, and the gradients by the norm of their difference over the larger norm. Ours are computed once more in fp64:
where both sides differ from that by rounding alone, no defect hides behind a difference above 1e-6.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from tutelage.algorithms.dpo import DPOConfig, dpo_loss
from tutelage.algorithms.group_steps import GroupMethod, weigh
from tutelage.algorithms.grpo import GRPOConfig, grpo_loss
from tutelage.algorithms.implicit_reward import REFERENCE
from tutelage.algorithms.kto import KTOConfig, baseline_of, kto_loss
from tutelage.algorithms.rloo import RLOOConfig, per_reply, rloo_advantages, rloo_loss
from tutelage.data.judgements import judge_pairs, judged
from tutelage.data.questions import Question
from tutelage.data.tokens import written
from tutelage.formulas import groups
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Batch, Key

TOLERANCE = 1e-6
SAMPLES, LONGEST, VOCABULARY = 4, 9, 120
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo": ("grpo", {"beta": 0.04, "loss_type": "grpo"}),
    "grpo, dapo": ("grpo", {"beta": 0.04, "loss_type": "dapo", "epsilon_high": 0.28}),
    "grpo, bnpo": ("grpo", {"beta": 0.0, "loss_type": "bnpo", "scale_rewards": "batch"}),
    "grpo, dr_grpo": ("grpo", {"beta": 0.04, "loss_type": "dr_grpo", "scale_rewards": "none"}),
    "grpo, plain k3": ("grpo", {"beta": 0.04, "loss_type": "grpo", "use_bias_correction_kl": False}),
    "gspo": ("grpo", {"beta": 0.0, "loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.01}),
    "rloo": ("rloo", {"beta": 0.05}),
    "dpo": ("dpo", {"beta": 0.1, "loss_type": ["sigmoid"]}),
    "dpo, per token": ("dpo", {"beta": 0.1, "loss_type": ["sigmoid_norm"]}),
    "dpo, ipo per token": ("dpo", {"beta": 1.0, "loss_type": ["ipo"]}),
    "dpo, simpo": ("simpo", {"beta": 2.0, "simpo_gamma": 0.5}),
    "kto": ("kto", {"beta": 0.1, "desirable_weight": 1.2, "undesirable_weight": 0.9}),
    "rloo, normalized": ("rloo", {"beta": 0.05, "normalize_advantages": True, "epsilon_high": 0.3}),
}


def make_batch(folder: Path) -> dict[str, Any]:
    """Three models and a batch of two prompts with four replies each; one group's scores are nearly equal."""
    words = {f"w{number}": number for number in range(VOCABULARY - 2)} | {"<eos>": 118, "<pad>": 119}
    built = Tokenizer(models.WordLevel(words, unk_token="w0"))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, eos_token="<eos>", pad_token="<pad>")
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.1, eos_token_id=118, pad_token_id=119,
    )  # fmt: skip
    torch.manual_seed(0)
    start = LlamaForCausalLM(config).eval()
    weights = {name: each.clone() for name, each in start.state_dict().items()}
    for name, far in (("start", 0.0), ("now", 0.02), ("reference", 0.03)):
        moved = {key: each + far * torch.randn_like(each) * each.std() * 3 for key, each in weights.items()}
        start.load_state_dict(moved)
        start.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    generator = torch.Generator().manual_seed(1)

    def tokens(count: int) -> list[int]:
        return torch.randint(0, 118, (count,), generator=generator).tolist()

    prompts = [each for each in (tokens(3), tokens(6)) for _ in range(SAMPLES)]
    replies = [[*tokens(count), 118] for count in (1, 4, 8, 2, 7, 3, 5, 1)]
    return {
        "prompts": prompts,
        "replies": replies,
        "scores": [1.0, 0.0, 2.5, -1.0, 0.5, 0.5, 0.51, 0.5],
        "samples": SAMPLES,
        "longest": LONGEST,
        "cases": CASES,
    }


class InDouble:
    """A policy in fp64, written out: what rounding hides."""

    rounding = 0.0

    def __init__(self, model: Any) -> None:
        self.model = model.double()

    def states(self, batch: Batch) -> torch.Tensor:
        return batch.observations

    def evaluate(self, states: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs_BT = self(batch)
        return log_probs_BT, torch.zeros_like(log_probs_BT)

    def __call__(self, batch: Batch) -> torch.Tensor:
        logits = self.model(input_ids=batch.observations, use_cache=False).logits[:, :-1]
        log_probs_BT = logits.log_softmax(-1).gather(-1, batch.actions[..., None])[..., 0]
        return log_probs_BT.masked_fill(~batch.mask_BT, 0.0)


def ours(
    folder: Path, given: dict[str, Any], algorithm: str, settings: dict[str, Any], make: Any = LanguagePolicy
) -> dict[str, Any]:
    """Loss and gradients of one case by the functions that `train` calls."""
    model = AutoModelForCausalLM.from_pretrained(folder / "start").eval()
    policy: Any = make(model)
    reference = make(AutoModelForCausalLM.from_pretrained(folder / "reference").eval().requires_grad_(False))
    rows = zip(given["prompts"], given["replies"], strict=True)
    batch = Batch.of([written(*row, Key(0, place // SAMPLES, place)) for place, row in enumerate(rows)])
    with torch.no_grad():
        batch = batch.with_extras(said=policy(batch))
    object.__setattr__(batch, "behaviour_log_probs_BT", batch.extras.pop("said"))
    if algorithm == "grpo":
        config: Any = GRPOConfig(samples=SAMPLES, **settings)
        token_weights = partial(groups.token_weights, loss_type=config.loss_type, longest=LONGEST)
        relative = partial(groups.relative, scale=config.scale_rewards)
        method = GroupMethod(relative, partial(grpo_loss, config, policy), token_weights, kl_in_reward=False)
    else:
        config = RLOOConfig(samples=SAMPLES, **settings)
        advantages = partial(rloo_advantages, config.normalize_advantages)
        method = GroupMethod(advantages, partial(rloo_loss, config, policy), per_reply)
    score_BT = batch.at_last_action(torch.tensor(given["scores"]))
    models_of = SimpleNamespace(policy=policy, reference=reference)
    targets, _ = weigh(config, batch, score_BT, models_of, method)
    now = AutoModelForCausalLM.from_pretrained(folder / "now").state_dict()
    model.load_state_dict(now)
    part = targets.with_extras(loss_weights=targets.weight * method.loss_weights(targets.mask_BT))
    loss = method.loss(part)["loss"] / targets.weight
    loss.backward()
    return {"loss": loss.detach(), "gradients": {name: each.grad for name, each in model.named_parameters()}}


def ours_on_rows(
    folder: Path, given: dict[str, Any], algorithm: str, settings: dict[str, Any], make: Any = LanguagePolicy
) -> dict[str, Any]:
    """Of DPO and KTO, which are given their replies: neighbors are pairs, the first of them preferred (good)."""
    model = AutoModelForCausalLM.from_pretrained(folder / "now").eval()
    policy: Any = make(model)
    reference = make(AutoModelForCausalLM.from_pretrained(folder / "reference").eval())
    rows = Batch.of([written(*row) for row in zip(given["prompts"], given["replies"], strict=True)])

    def keep(batch: Batch) -> Batch:
        with torch.no_grad():
            return batch.with_extras(**{REFERENCE: reference(batch)})

    if algorithm == "kto":
        config: Any = KTOConfig(settings["beta"], settings["desirable_weight"], settings["undesirable_weight"])
        cycled = [*given["replies"][-1:], *given["replies"][:-1]]  # as TRL sets replies behind other prompts
        others = Batch.of([written(*row) for row in zip(given["prompts"], cycled, strict=True)])
        good = [Question(str(row), ("-",), ratings={"good": (1.0 - row % 2,)}) for row in range(len(rows))]
        baseline = baseline_of(policy, keep(others), 10**6)
        sums = kto_loss(config, policy, baseline, judged(keep(rows), good, ("good",)))
        loss = sums["loss"] / len(rows)
    elif algorithm == "simpo":
        config = DPOConfig("simpo", settings["beta"], settings["simpo_gamma"])
        loss = dpo_loss(config, policy, judge_pairs(rows))["loss"] / (len(rows) // 2)
    else:
        name = settings["loss_type"][0]
        per_token = name in ("ipo", "sigmoid_norm")
        config = DPOConfig("ipo" if name == "ipo" else "sigmoid", settings["beta"], per_token=per_token)
        loss = dpo_loss(config, policy, judge_pairs(keep(rows)))["loss"] / (len(rows) // 2)
    loss.backward()
    return {"loss": loss.detach(), "gradients": {name: each.grad for name, each in model.named_parameters()}}


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, float]:
    """(of the losses, that of the gradients relative to the larger norm)."""
    names = [name for name, each in mine["gradients"].items() if each is not None]
    ours_N, theirs_N = (torch.cat([each["gradients"][name].flatten() for name in names]) for each in (mine, theirs))
    scale = max(float(ours_N.norm()), float(theirs_N.norm()))
    apart_N = ours_N - theirs_N
    return abs(float(mine["loss"] - theirs["loss"])), float(apart_N.norm()) / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the python of an environment with trl==1.16.*")
    asked = parser.parse_args()
    disable_progress_bar()
    differ = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = make_batch(folder)
        (folder / "batch.json").write_text(json.dumps(given))
        subprocess.run([asked.peer, str(Path(__file__).parent / "trl_losses.py"), name], check=True)
        theirs = torch.load(folder / "theirs.pt")
        columns = ("our loss", "TRL loss", "difference", "of gradients", "ours - fp64", "TRL - fp64")
        print(f"{'case':20s}", *(f"{each:>12s}" for each in columns))
        for case, (algorithm, settings) in CASES.items():
            compute = ours if algorithm in ("grpo", "rloo") else ours_on_rows
            mine, exact = (compute(folder, given, algorithm, settings, make) for make in (LanguagePolicy, InDouble))
            of_loss, of_gradients = differences(mine, theirs[case])
            rounding = [differences(each, exact)[1] for each in (mine, theirs[case])]
            differ += max(of_loss, of_gradients) > max(TOLERANCE, sum(rounding)) or max(rounding) > 5 * TOLERANCE
            losses = f"{float(mine['loss']):12.7f} {float(theirs[case]['loss']):12.7f}"
            print(f"{case:20s} {losses}", *(f"{each:12.2e}" for each in (of_loss, of_gradients, *rounding)))
    sys.exit(differ > 0)


if __name__ == "__main__":
    main()
