"""What a labeller is asked next: the qualification first, then questions with the team's checks mixed in.

Texts that may distress go to those who said that they want them, and only so many within an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from tutelage.feedback.asking import Assignment
from tutelage.feedback.checks import Standing
from tutelage.feedback.claims import Claim
from tutelage.feedback.store import LEASE_SECONDS, Store
from tutelage.studio.limits import Limit
from tutelage.studio.members import Member, member_of
from tutelage.studio.settings import Settings


def claimed(request: Request, count: int) -> tuple[list[Assignment], str]:
    """(questions, what the person is told where there are none because of them)."""
    state, member = request.app.state, member_of(request)
    store: Store = state.store
    settings: Settings = state.project.settings
    shares = settings.shares
    purpose, says = None, ""
    if settings.qualification and member.role == "labeller":
        standing = store.standing(member.labeller)
        if not qualified(standing, member, settings.pass_share):
            purpose = "qualification"
            says = waiting(standing)
    elif shares.qualification:
        shares = type(shares)(shares.repeat, shares.swap, shares.gold)
    left = state.warned.left(member.labeller)
    warned = member.warned and left > 0
    wish = Claim(
        member.labeller,
        min(count, left) if warned else count,
        sorted(state.pages),
        LEASE_SECONDS,
        purpose=purpose,
        warned=warned,
    )
    found = store.claim_as(wish, shares)
    count_warned(state.warned, member.labeller, found)
    return found, "" if found else says


def qualified(standing: Standing, member: Member, pass_share: float) -> bool:
    """All answered and enough of them right; or a lead says so."""
    done = standing.total > 0 and standing.answered >= standing.total
    return member.passed or standing.total == 0 or (done and standing.right >= pass_share * standing.total)


def waiting(standing: Standing) -> str:
    if standing.answered < standing.total:
        return ""
    return (
        f"Thank you: {standing.right} of the {standing.total} questions of the qualification were answered as we "
        "would. Somebody who leads this project looks at them now; nothing else is asked until then."
    )


def count_warned(limit: Limit, labeller: str, found: Sequence[Assignment]) -> None:
    """Each such question counts once, however often it is claimed again."""
    for each in found:
        if each.form.get("warning") and not limit.seen(labeller, each.id):
            limit.over(labeller)


def gone(request: Request) -> dict[str, Any]:
    """Gives back what this person holds, for a reason that is nobody's fault."""
    store: Store = request.app.state.store
    member = member_of(request)
    held = store.held(member.labeller)
    for each in held:
        store.skip(member.labeller, each.id, each.lease, f"exit-{each.id}-{each.lease}", "left the project")
    return {"given_back": len(held)}
