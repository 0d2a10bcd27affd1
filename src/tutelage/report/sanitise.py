"""The only way from a model's words to a page: markdown without HTML, then a whitelist of tags.

Links and images stay text, so nothing on a page can be followed or fetched because a model wrote it. Letters that one
cannot see, or that turn the direction of reading, are written out by their numbers: a reader judges what is there.
"""

from __future__ import annotations

import re

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
LONGEST = 20_000  # characters of one text on a page
DEEPEST = 20  # blocks within blocks; a text that goes deeper is shown as it was written
_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": DEEPEST})
_markdown.enable(["table", "strikethrough"]).disable(["link", "image", "autolink", "reference"])

UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
    # joiners belong to emoji and to some scripts; between Latin letters they only hide
    "|(?<![^\x00-\u024f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u024f])"
)


def sanitised(text: str, longest: int = LONGEST) -> Markup:
    """Safe HTML of a model's text; a very long one is cut with a note."""
    shown = plain(text, longest)
    tokens = _markdown.parse(shown)
    if max((each.level for each in tokens), default=0) >= DEEPEST - 1:  # the parser leaves out what lies deeper
        return Markup("<pre>{}</pre>").format(shown)
    return Markup(nh3.clean(_markdown.renderer.render(tokens, _markdown.options, {}), tags=TAGS, attributes={}))


def plain(text: str, longest: int = LONGEST) -> str:
    """A model's text as it stands, for a place that takes text and no HTML: unseen letters shown, cut with a note."""
    shown = text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest} more characters)"
    return UNSEEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", shown)
