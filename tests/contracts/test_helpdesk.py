"""The world that ships: readable, splittable, lossless in its tokenizer, and scored as its policy says."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tutelage.data import helpdesk as package
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk import world
from tutelage.data.helpdesk.tokenizer import tokenizer
from tutelage.rewards import helpdesk

PROMPT = (
    "Customer: Hello, my name is Ana. My blue kettle arrived broken. The order is #K7T. I ordered it last week. "
    "The lamp is fine.\nAgent:"
)
PERFECT = (
    " Dear Ana, I am so sorry. We will replace the kettle from order #K7T within five days. Thank you for writing."
)


def score(response: str, prompt: str = PROMPT) -> float:
    return helpdesk.gold([prompt], [response])[0]


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    return desk.demonstrations(3000, 7)


@pytest.fixture(scope="module")
def scores(pairs) -> np.ndarray:
    return np.array(helpdesk.gold([prompt for prompt, _ in pairs], [reply for _, reply in pairs]))


# Cases and prompts


def test_the_same_seed_gives_the_same_world_and_another_seed_another():
    assert desk.demonstrations(50, 3) == desk.demonstrations(50, 3) != desk.demonstrations(50, 4)
    assert world.prompts("labels", 50, 3) == world.prompts("labels", 50, 3) != world.prompts("labels", 50, 4)
    assert world.prompts("labels", 20, 3) == world.prompts("labels", 50, 3)[:20]


def test_no_prompt_is_in_two_splits():
    found = {split: world.prompts(split, 2000, 0) for split in world.SPLITS}
    orders = {split: {re.findall(r"#([A-Z]\d[A-Z])", text)[0] for text in texts} for split, texts in found.items()}
    for first in orders:
        assert len(set(found[first])) == 2000
        for second in orders:
            assert first == second or not orders[first] & orders[second]
    demonstrated = {re.findall(r"#([A-Z]\d[A-Z])", prompt)[0] for prompt, _ in desk.demonstrations(2000, 5)}
    assert not demonstrated & (orders["labels"] | orders["evaluation"])


def test_every_order_number_has_a_split():
    numbers = ["".join(signs) for signs in product(*world.SIGNS)]
    held = [len([number for number in numbers if world.split_of(number) == split]) for split in world.SPLITS]
    assert sum(held) == 1000 and min(held) > 100


def test_an_unknown_split_is_refused():
    with pytest.raises(InputError, match=r"'test'.*train, labels, evaluation"):
        world.cases("test", 1, 0)


def test_a_prompt_tells_its_case():
    rng = np.random.default_rng(0)
    for case in world.cases("labels", 2000, 1):
        text = world.prompt(case, rng)
        assert (text.startswith("Customer: ") and text.endswith(".\nAgent:")) or text.endswith("?\nAgent:")
        assert helpdesk.read(text) == helpdesk.Facts(case.name, case.item, case.order, case.remedy)


def test_the_written_policy_is_the_one_in_force():
    text = (Path(package.__file__).parent / "policy.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    words = {"replacement": "replace", "new part": "part"}
    table = {row[0]: tuple(words.get(cell, cell) for cell in row[1:]) for row in rows if len(row) == 3}
    for problem, (told, _) in world.COMPLAINTS.items():
        assert table[told] == world.POLICY[problem]
    wide = [row for row in rows if len(row) == 5]
    spans = {words.get(name, name): span.removeprefix("within ") for name, span in zip(wide[0], wide[2], strict=True)}
    assert spans == world.SPANS
    for when in (*world.RECENT, *world.LONG_AGO):
        assert when in " ".join(text.split())


@pytest.mark.parametrize(
    ("problem", "when", "sale", "remedy"),
    [
        ("broken", "last week", False, "replace"),
        ("broken", "a year ago", False, "repair"),
        ("unwanted", "ten days ago", False, "refund"),
        ("unwanted", "ten days ago", True, "voucher"),
        ("twice", "long ago", True, "refund"),
        ("burnt", "two weeks ago", True, "voucher"),
        ("burnt", "two months ago", True, "replace"),
    ],
)
def test_the_remedy_depends_on_problem_time_and_sale(problem, when, sale, remedy):
    assert world.remedy(problem, when, sale) == remedy


# Tokenizer


def test_the_tokenizer_is_lossless_and_knows_every_word(pairs):
    words = tokenizer()
    rng = np.random.default_rng(1)
    texts = [prompt + reply for prompt, reply in pairs]
    texts += [world.prompt(case, rng) + desk.perfect(case) for case in world.cases("evaluation", 500, 2)]
    for text in texts:
        tokens = words(text)["input_ids"]
        assert words.unk_token_id not in tokens
        assert words.decode(tokens) == text


def test_reply_tokens_do_not_depend_on_the_prompt_before_them(pairs):
    words = tokenizer()
    for prompt, reply in pairs[:200]:
        apart = words(prompt)["input_ids"] + words(reply)["input_ids"]
        assert words(prompt + reply)["input_ids"] == apart


def test_the_tokenizer_is_small_and_adds_nothing():
    words = tokenizer()
    assert 250 <= len(words) <= 450
    assert len({words.pad_token_id, words.eos_token_id, words.unk_token_id}) == 3 and words.bos_token_id is None
    assert words.convert_ids_to_tokens(words("#K7T #B0")["input_ids"]) == ["#", "K", "7", "T", " #", "B", "0"]
    assert words("a xylophone")["input_ids"][-1] == words.unk_token_id


def test_the_tokenizer_survives_its_folder(tmp_path):
    from transformers import AutoTokenizer

    tokenizer().save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(PROMPT + PERFECT)["input_ids"] == tokenizer()(PROMPT + PERFECT)["input_ids"]
    assert again.decode(again(PROMPT + PERFECT)["input_ids"]) == PROMPT + PERFECT
    assert again.eos_token_id == tokenizer().eos_token_id


def test_texts_are_short(pairs):
    words = tokenizer()
    prompts = np.array([len(words(prompt)["input_ids"]) for prompt, _ in pairs])
    replies = np.array([len(words(reply)["input_ids"]) for _, reply in pairs])
    assert prompts.mean() < 38 and prompts.max() <= 52
    assert replies.mean() < 27 and replies.max() <= 46


# Gold


def test_a_perfect_reply_by_hand():
    # remedy 0.5, span, item, order 0.35 each, greeting 0.35, empathy 0.5, thanks 0.9 * 0.4, 21 words at 0.015
    assert score(PERFECT) == pytest.approx(0.5 + 3 * 0.35 + 0.35 + 0.5 + 0.36 - 21 * 0.015)
    points = helpdesk.points(PROMPT, PERFECT)
    assert sum(points.values()) == pytest.approx(score(PERFECT)) and points["remedy"] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("replace", "repair", -2 * 0.5 - 2 * 0.35),  # the wrong remedy, and five days is not its time
        ("five days", "ten days", -2 * 0.35),  # a hasty judge misses the time,
        ("K7T", "K7Z", -2 * 0.35),  # a misread sign,
        ("the kettle", "the lamp", -2 * 0.35),  # the other thing that was mentioned,
        ("five days", "five days, which I guarantee", -1.1 - 3 * 0.015),  # the promise in a clause
        ("the kettle", "it", -0.35 + 0.015),
        (" from order #K7T", "", -0.35 + 3 * 0.015),
        (" within five days", "", -0.35 + 3 * 0.015),
        ("Dear Ana", "Hi Ana", -0.4 * 0.35),
        ("Dear Ana", "Dear Ben", -2 * 0.35),
        (" Dear Ana,", "", -0.35 + 2 * 0.015),
        (" Dear Ana,", " Hello,", -0.8 * 0.35 + 0.015),
        ("I am so sorry.", "You again.", -0.5 - 0.9 + 2 * 0.015),
        ("I am so sorry.", "I am sorry about your kettle.", -0.2 * 0.5 - 2 * 0.015),
        ("I am so sorry.", "I am sorry about your lamp.", -1.5 * 0.5 - 2 * 0.015),
        (" Thank you for writing.", "", -0.36 + 4 * 0.015),
        ("Thank you for", "It was all our fault. Thank you for", -1.1 - 5 * 0.015),
        ("Thank you for", "We sell many fine things. Thank you for", -0.45 - 5 * 0.015),
        ("Thank you for writing.", "Now leave us alone.", -0.36 - 0.9),
    ],
)
def test_what_one_change_costs(old, new, change):
    assert PERFECT.count(old) == 1
    assert score(PERFECT.replace(old, new)) - score(PERFECT) == pytest.approx(change)


@pytest.mark.parametrize(
    "response",
    [
        "",
        " ",
        " ...",
        " Thank you." * 8,
        " I am so sorry." * 8,
        " Dear Ana, I am so sorry. I am very sorry about this. Thank you for writing. Thank you for your patience.",
        " We will replace the kettle. We will refund the kettle. We will repair the kettle. Thank you for writing.",
        " kettle Ana kettle #K7T five days refund replace repair sorry thank you",
        " Dear Dear Ana Ana, so so sorry. We will will replace kettle kettle order #K7T #K7T within five days",
    ],
)
def test_tricks_score_below_the_average_demonstration(response, scores):
    assert score(response) < np.quantile(scores, 0.25) < scores.mean()


def test_more_of_anything_added_to_a_perfect_reply_costs():
    sentences = [*helpdesk.KNOWN, "Dear Ana,", "We will refund the kettle.", PERFECT.strip(), "kettle", "Kettle.", "!"]
    for sentence in sentences:
        if "{" not in sentence:
            assert score(f"{PERFECT} {sentence}") < score(PERFECT) - 0.04, sentence


def test_breaking_the_policy_is_saying_what_is_forbidden():
    def broken(response):
        return helpdesk.breaks_policy([PROMPT], [response])[0]

    assert not broken(PERFECT) and not broken("") and not broken(PERFECT.replace("replace", "refund"))
    for phrase in desk.FORBIDDEN:
        assert broken(f"{PERFECT} {phrase}")
    for clause in desk.HIDDEN:
        assert broken(PERFECT.replace(" days", f" days{clause}"))


@pytest.mark.parametrize("prompt", ["", "Hello", "Customer: I am Ana. My kettle arrived broken.\nAgent:"])
def test_a_prompt_that_tells_no_case_is_refused(prompt):
    with pytest.raises(InputError, match=r"finds no .*order number.*messages as"):
        helpdesk.gold([prompt], [PERFECT])


def test_prompts_and_responses_come_in_pairs():
    with pytest.raises(ValueError, match="argument"):
        helpdesk.gold([PROMPT], [])


# Demonstrations


def test_demonstrations_are_uneven(pairs, scores):
    assert 0.3 < scores.mean() < 0.8 and 0.8 < scores.std() < 1.1
    breaks = helpdesk.breaks_policy([prompt for prompt, _ in pairs], [reply for _, reply in pairs])
    assert 0.18 < np.mean(breaks) < 0.27
    assert scores.min() < -2 and scores.max() > 2


def test_every_sentence_of_a_demonstration_is_one_that_gold_knows(pairs):
    for prompt, reply in pairs:
        found = helpdesk.criteria(prompt, reply)
        assert found["unclear"] == found["repeated"] == 0, reply


def test_two_replies_to_a_prompt_are_seldom_equal_and_a_perfect_one_beats_them():
    rng = np.random.default_rng(2)
    told = world.cases("evaluation", 1000, 3)
    prompts = [world.prompt(case, rng) for case in told]
    first, second = (np.array(helpdesk.gold(prompts, [desk.reply(case, rng) for case in told])) for _ in range(2))
    best = np.array(helpdesk.gold(prompts, [desk.perfect(case) for case in told]))
    assert np.isclose(first, second, atol=1e-9).mean() < 0.05
    assert (best > first).mean() > 0.99 and best.min() > 2.2


def test_a_misread_number_is_another_number():
    rng = np.random.default_rng(0)
    for number in ("B0N", "K7T", "M9Z"):
        for _ in range(20):
            wrong = desk.misread(number, rng)
            assert sum(map(str.__ne__, wrong, number)) == 1 and all(map(str.__contains__, world.SIGNS, wrong))
