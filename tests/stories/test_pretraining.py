"""Bai et al. 2022 in small: weak comparisons (replies against worse copies of themselves) save people's labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from tutelage.algorithms.reward_model import RewardModelConfig
from tutelage.data import weak
from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk import edits, tokenizer, world
from tutelage.data.judgements import judged, tokenised
from tutelage.data.questions import Question, chosen
from tutelage.data.tokens import Codec
from tutelage.feedback import labellers
from tutelage.recipes.pretraining import Labelled, Phases, labels_saved
from tutelage.rewards import helpdesk
from tutelage.runs.run import Run

SEED, WIDTH, COUNTS = 0, 48, (50, 200)
PHASES = Phases(
    weak=RewardModelConfig(epochs=2, batch_size=32, learning_rate=2e-3, tokens_at_once=8192),
    human=RewardModelConfig(epochs=4, batch_size=16, learning_rate=1e-3, tokens_at_once=8192),
)


def of_people(split, count):
    """Questions about two replies to the same customer, answered by the panel."""
    rng, panel, found = np.random.default_rng([SEED, 5]), labellers.panel(helpdesk.gold), []
    for case in world.cases(split, count, SEED):
        prompt = world.prompt(case, rng)
        replies = [desk.reply(case, rng) for _ in range(2)]
        best = panel[int(rng.integers(len(panel)))].choose(prompt, replies, rng)
        found.append(Question(prompt, tuple(replies), chosen(best, 2), best))
    return found


@pytest.mark.slow
def test_fifty_labels_after_pretraining_are_worth_more_than_a_hundred_without(tmp_path):
    """Held-out accuracy on seeds 0 to 3: at 50 labels 0.64 to 0.67 with, 0.51 to 0.55 without; at 200 labels 0.70 to
    0.73 with, 0.61 to 0.67 without."""
    words = tokenizer.tokenizer()
    codec = Codec(words)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=WIDTH**-0.5,
        num_labels=1,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    torch.manual_seed(SEED)
    classifier = LlamaForSequenceClassification(config).eval()
    worse = weak.edited(desk.demonstrations(1500, SEED), SEED, edits.EDITS)
    made, learned, held_out = (
        judged(tokenised(codec, each)[0], each)
        for each in (worse, of_people("labels", max(COUNTS)), of_people("evaluation", 300))
    )
    run = Run.create(tmp_path / "run", PHASES)
    few, many = labels_saved(PHASES, classifier, made, Labelled(learned, held_out), COUNTS, codec, run)
    assert few["accuracy_pretrained"] > few["accuracy"] + 0.08
    assert few["labels_without"] is None or few["labels_without"] > 100
    assert many["accuracy_pretrained"] >= many["accuracy"]
    AutoModelForSequenceClassification.from_pretrained(run.path / "weak" / "model")
    again = labels_saved(PHASES, classifier, made, Labelled(learned, held_out), COUNTS, codec, run)
    assert again == [few, many]  # finished stages are read, not done again
