"""What must not be written down: passwords in addresses, keys of APIs, values of secret environment variables."""

from __future__ import annotations

import os
import re

MASK = "***"
SECRET = r"(?:api[_-]?key|key|token|secret|password|passwd|pwd|signature|sig|auth|credential)"
IN_ADDRESSES = re.compile(r"(?P<before>\b[a-z][\w+.-]*://(?:[^\s:/?#@]*:)?)(?P<secret>[^\s/?#@]+)(?=@)", re.IGNORECASE)
IN_QUERIES = re.compile(rf"(?P<before>[?&;][\w.-]*{SECRET}[\w.-]*=)(?P<secret>[^&;#\s]+)", re.IGNORECASE)
IN_HEADERS = re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)(?P<secret>[\w.~+/=-]{8,})", re.IGNORECASE)
TOKENS = re.compile(  # as Hugging Face, OpenAI, Anthropic, GitHub, GitLab, Slack, AWS, Google and JSON web tokens begin
    r"\b(?:hf_\w{16,}|sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
)
NAMED_SECRET = re.compile(rf"(?:^|_){SECRET}S?(?:$|_)", re.IGNORECASE)
SHORTEST = 8  # letters of a variable's value that is looked for: a shorter one stands in many texts by chance
USER_ONLY = re.compile(r"^(?:postgres\w*|sqlite|ssh|sftp)", re.IGNORECASE)  # whose name before the @ is no secret


def masked(text: str) -> str:
    """The text without its secrets; masking it again changes nothing."""
    text = IN_ADDRESSES.sub(_in_address, text)
    for pattern in (IN_QUERIES, IN_HEADERS):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    text = TOKENS.sub(MASK, text)
    for value in _of_the_environment():
        text = text.replace(value, MASK)
    return text


def _in_address(found: re.Match[str]) -> str:
    alone = found["before"].endswith("//")
    return found[0] if alone and USER_ONLY.match(found["before"]) else found["before"] + MASK


def _of_the_environment() -> list[str]:
    """Values of variables that are called token, key, secret or password; the longest first."""
    named = (value for name, value in os.environ.items() if NAMED_SECRET.search(name))
    return sorted({value for value in named if len(value) >= SHORTEST and not _is_path(value)}, key=len, reverse=True)


def _is_path(value: str) -> bool:
    """SSH_AUTH_SOCK and the like name a file."""
    return value.startswith(("/", "./", "~"))
