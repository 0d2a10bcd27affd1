"""`tutelage ppo-ptx`: PPO that keeps a text likely, too, as InstructGPT mixed pretraining in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from tutelage.algorithms.ppo_ptx import PPO_PTX, PPOPTXConfig, TextTask, perplexity
from tutelage.commands.acting import FLAT, Acting, prepare_acting, train_acting
from tutelage.commands.ppo import PPOJob
from tutelage.data.errors import InputError
from tutelage.data.texts import in_pieces, read_texts, split_held_out
from tutelage.models.pretrained import context_tokens
from tutelage.runs.run import Run
from tutelage.training.models import critic_of
from tutelage.trajectory import Batch


@dataclass(frozen=True)
class PPOPTXJob(PPOJob):
    """Optimize a policy against a reward by PPO, and keep a text likely that it should not forget (PPO-ptx)."""

    pretraining_data: str = ""
    """File, folder or hub id of text (a text column, or plain text); its last tenth is held out, and its perplexity
    recorded."""
    text_tokens: int = 128
    """Longest piece of text."""
    settings: Annotated[PPOPTXConfig, FLAT] = field(
        default_factory=lambda: PPOPTXConfig(learning_rate=1e-5, value_learning_rate=1e-4)
    )


def ppo_ptx_job(job: PPOPTXJob, run: Run) -> dict[str, Any]:
    if not job.pretraining_data:
        raise InputError("--pretraining-data is missing: the text that the policy is to keep likely.")
    acting = prepare_acting(job, run, job.held_out_reward)
    critic = critic_of(acting.speaker.policy, None if job.value_head else acting.classifier)
    task, counts = with_text(job, acting)

    def measure() -> float:
        return perplexity(acting.speaker.policy, require_held_out(task), job.settings.tokens_at_once)

    start = measure()
    summary = train_acting(PPO_PTX, job.settings, replace(acting, task=task), run, critic)
    return {**summary, **counts, "text_perplexity_start": start, "text_perplexity": measure()}


def with_text(job: PPOPTXJob, acting: Acting) -> tuple[TextTask, dict[str, int]]:
    """The task with the text of --pretraining-data, and how many pieces there are to learn from and held out."""
    speaker, task = acting.speaker, acting.task
    texts, _ = read_texts(job.pretraining_data, speaker.codec)
    longest = min(job.text_tokens, context_tokens(speaker.policy.model) or job.text_tokens)
    learned, held_out = split_held_out(in_pieces(speaker.codec, texts, longest), job.pretraining_data)
    text, other = (Batch.of(each).to(acting.device) for each in (learned, held_out))
    counts = {"text_pieces": len(learned), "text_pieces_held_out": len(held_out)}
    whole = TextTask(task.environment, task.score, held_out=task.held_out, text=text, held_out_text=other)
    return whole, counts


def require_held_out(task: TextTask) -> Batch:
    assert task.held_out_text is not None
    return task.held_out_text
