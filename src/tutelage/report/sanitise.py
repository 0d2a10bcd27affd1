"""The only way from a model's words to a page: markdown without HTML, then a whitelist of tags."""

from __future__ import annotations

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

TAGS = {"p", "br", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "hr"}
LONGEST = 20_000  # characters of one text on a page
_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False}).disable(["link", "image", "autolink"])


def sanitised(text: str) -> Markup:
    """Safe HTML of a model's text; links and images stay text, and a very long one is cut with a note."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
    return Markup(nh3.clean(_markdown.render(shown), tags=TAGS, attributes={}))
