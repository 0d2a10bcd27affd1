"""Whatever a model writes is inert on the page: nothing runs, nothing is fetched, nothing hidden, nobody named."""

from __future__ import annotations

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking

BEACON = "http://beacon.example/x"
CORPUS = (
    "<script>window.pwned = 1; fetch('http://beacon.example/x')</script>",
    "<img src=x onerror='window.pwned = 1'><svg onload='window.pwned = 1'>",
    "<body onload=alert(1)><iframe src='javascript:parent.pwned=1'></iframe>",
    f"![beacon]({BEACON}.png) <img src='{BEACON}.png'> [![a]({BEACON}.png)]({BEACON})",
    "[press me](javascript:window.pwned=1) <a href='javascript:window.pwned=1'>press</a> <javascript:window.pwned=1>",
    f"<style>@import '{BEACON}.css'; body {{ background: url({BEACON}.png) }}</style><link rel=x href={BEACON}>",
    f"<form action='{BEACON}'><input autofocus onfocus='window.pwned=1'><button>go</button></form>",
    f"<meta http-equiv='refresh' content='0; url={BEACON}'><base href='{BEACON}'>",
    "</script><script>window.pwned = 1</script><!--<script>window.pwned = 1</script>-->",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.pwned=1&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=window.pwned=1>'>",
    "```html\n<img src=x onerror=window.pwned=1>\n```\n\n`<script>window.pwned=1</script>`",
    "{{ 7 * 7 }} ${window.pwned = 1} &lt;script&gt;window.pwned = 1&lt;/script&gt;",
    "\u202egnp.exe\u202c and \u200bhidden\u2066 marks\ufeff",
    "x" * 1_000_000,
    ">" * 20_000 + " deep",
    "- " * 20_000 + " deep",
    "**" * 30_000,
    "<div>" * 20_000 + "inner",
    "\x00\x1b[31mred\x07 \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
)


def asked() -> list[Asking]:
    return [
        Asking(Context(prompt=text[:30_000]), (Candidate(id=f"a{i}", text=text), Candidate(id=f"b{i}", text="Plain.")))
        for i, text in enumerate(CORPUS)
    ]


def test_hostile_texts_are_inert(served, person, caplog):
    """In every way of showing them; and the server heard of no broken policy."""
    studio, ann = served(asked()), person()
    ann.open(studio.link())
    for _ in CORPUS:
        for key in ("m", "d", "m"):
            ann.page.keyboard.press(key)
        page = ann.page.locator("#question")
        for tag in (
            "script",
            "img",
            "iframe",
            "svg",
            "style",
            "link",
            "a",
            "form",
            "input",
            "button",
            "[style]",
            "math",
        ):
            assert page.locator(tag).count() == 0, tag
        assert ann.page.evaluate("() => window.pwned") is None
        ann.press("f")
    ann.idle()
    ann.saved()
    assert ann.strangers(studio.address) == [] and ann.violations() == []
    assert "content policy" not in caplog.text
    assert len(studio.store.labels()) == len(CORPUS)


def test_marks_that_hide_or_turn_are_shown(served, person):
    studio, ann = served(asked()[13:14]), person()
    ann.open(studio.link())
    shown = " ".join(ann.shown())
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩" in shown and "⟨U+200B⟩hidden" in shown


def test_the_policy_stops_what_gets_past_everything_else(served, person, caplog):
    """The last line of defence, on its own: a script or a beacon put into the page by force does not work."""
    studio, ann = served(asked()[:2]), person()
    ann.open(studio.link())
    ann.page.evaluate("""() => {
        try { document.body.insertAdjacentHTML("beforeend", "<img src=x>"); window.inserted = true } catch { }
        const script = document.createElement("script");
        try { script.text = "window.pwned = 1"; document.body.append(script) } catch { }
        const image = new Image(); image.src = "http://beacon.example/x.png"; document.body.append(image);
    }""")
    ann.page.wait_for_timeout(200)
    assert ann.page.evaluate("() => [window.inserted, window.pwned]") == [None, None]
    assert "img-src" in ann.violations() and "the content policy stopped something" in caplog.text
    ann.page.evaluate("() => (window.violations = [])")  # they were asked for


def test_nothing_that_reaches_the_browser_tells_who_wrote_it(served, person):
    secrets = ("canonical-one", "canonical-two", "policy-nine", "0.1234567", "3.1415927", "asked-by-name")
    candidates = tuple(
        Candidate(id=each, text=f"Reply {i}", policy="policy-nine", sampler={"temperature": 0.1234567}, score=3.1415927)
        for i, each in enumerate(secrets[:2])
    )
    question = Asking(Context(prompt="p"), candidates, name="asked-by-name", policy="policy-nine")
    studio, ann = served([question]), person()
    ann.open(studio.link())
    found: list = []
    ann.page.on("response", lambda each: found.append(each) if "news" not in each.url else None)
    ann.page.reload()
    ann.press("f")
    ann.next(lambda: ann.page.keyboard.press("u"))
    told = "".join(f"{each.url} {each.all_headers()} {each.text() if each.status == 200 else ''}" for each in found)
    told += ann.page.content()
    assert "Reply 1" in told and not [secret for secret in secrets if secret in told]
