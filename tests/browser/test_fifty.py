"""A person labels fifty pairs by keyboard, and everything that can happen happens: fifty labels, none doubled."""

from __future__ import annotations

from tests.labelling import texts, write_pairs

from tutelage.feedback.store import Store

KEYS = ("ArrowLeft", "f", "j", "ArrowRight", "Space", "b")


def test_fifty_pairs_through_undo_skip_reload_a_killed_server_and_a_cut(tmp_path, command, person):
    """52 pairs, two of them skipped. What was chosen is noted from the screen and compared with the store."""
    file = write_pairs(tmp_path / "pairs.jsonl", 52)
    content = file.read_bytes()
    studio, ann = command(str(file)), person()
    ann.open(studio.link)
    chosen: list[str] = []

    def answer(times: int) -> None:
        for _ in range(times):
            key = KEYS[len(chosen) % len(KEYS)]
            ann.press("Shift")  # nobody's key: it only passes a pause and waits
            shown = ann.shown()
            ann.press(key)
            chosen.append(shown[0] if key in ("ArrowLeft", "f") else shown[1] if key in ("j", "ArrowRight") else "")

    def undo(times: int) -> None:
        for _ in range(times):
            ann.next(lambda: ann.page.keyboard.press("u"))
            chosen.pop()

    def skip() -> None:
        ann.press("s")
        ann.next(lambda: ann.page.keyboard.press("1"))

    answer(8)
    undo(2)
    answer(6)
    skip()
    ann.saved()
    ann.page.reload()
    answer(5)
    ann.saved()
    ann.page.reload()
    ann.ready()
    undo(1)  # across the reload
    answer(7)
    studio.kill()
    answer(3)  # from what was fetched before
    assert ann.state == "offline"
    undo(1)  # one that never left
    answer(1)
    studio.start()
    ann.saved()
    answer(6)
    ann.context.set_offline(True)
    answer(3)
    assert ann.state == "offline"
    ann.context.set_offline(False)
    answer(4)
    skip()
    answer(3)
    studio.kill()  # perhaps between a commit and its reply
    answer(2)
    studio.start()
    ann.saved()
    answer(50 - len(chosen))
    ann.idle()
    ann.saved()
    assert ann.strangers(studio.address) == []
    said = studio.stop()
    assert "50 in all" in said
    with Store.open(tmp_path / "pairs.labels" / "feedback.db") as store:
        labels = store.labels()
        assert store.verify() == []
    assert len(labels) == 50 and len({each.question for each in labels}) == 50
    assert sorted(texts(labels)) == sorted(chosen)
    assert {each.state for each in labels} == {"counted"}
    assert file.read_bytes() == content
