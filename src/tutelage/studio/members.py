"""Who belongs to a project, and what each may do there: owner, lead, labeller, viewer.

Whoever entered by the link of the terminal sits at the machine and owns the project. All others come by an invitation:
it holds once, for some days, for one name and one role. The file keeps hashes of invitations, never what opens.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency

from tutelage.feedback.asking import Refused, checked_name
from tutelage.runs.files import write_json
from tutelage.studio.security import Refusal
from tutelage.studio.sessions import Session, hashed, kept

Role = Literal["owner", "lead", "labeller", "viewer"]
Act = Literal["label", "look", "lead", "own"]
MAY: dict[Act, frozenset[str]] = {
    "label": frozenset({"owner", "lead", "labeller"}),
    "look": frozenset({"owner", "lead", "viewer"}),
    "lead": frozenset({"owner", "lead"}),
    "own": frozenset({"owner"}),
}
NOBODY = "nobody"  # the role of whoever was removed or has left
DAY_SECONDS = 86_400.0
LONGEST_DAYS = 60


@dataclass(frozen=True)
class Member:
    """labeller: id in the store; warned: wants to see texts that may distress; passed: qualified by a lead's word."""

    labeller: str
    name: str
    role: str
    since: float
    warned: bool = False
    passed: bool = False


@dataclass(frozen=True)
class Invitation:
    labeller: str
    name: str
    role: str
    until: float


class Members:
    """Members and open invitations of one project. path: a file beside the sessions, readable by its owner."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = path, clock
        self._lock = threading.Lock()
        found = kept(path, "Delete it, and invite everybody again.")
        self.by_labeller = {name: Member(**each) for name, each in found.get("members", {}).items()}
        self.invitations = {name: Invitation(**each) for name, each in found.get("invitations", {}).items()}

    def of(self, session: Session) -> Member:
        """The member of a session; whoever came by the terminal's link and was never invited owns the project.

        Whoever was invited and is not in the file, since somebody deleted it, is nobody.
        """
        otherwise = NOBODY if session.invited else "owner"
        return self.by_labeller.get(session.labeller) or Member(session.labeller, session.name, otherwise, 0.0)

    def invite(self, labeller: str, name: str, role: Role, days: float) -> str:
        """A token that lets this person in once, with that role. An older invitation of theirs ends."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            others = {key: each for key, each in self.invitations.items() if each.labeller != labeller}
            invitation = Invitation(labeller, name, role, self.clock() + days * DAY_SECONDS)
            self.invitations = {**others, hashed(token): invitation}
            self._keep()
        return token

    def accept(self, token: str) -> Member | None:
        """The new member, if the invitation was open. It is used up."""
        with self._lock:
            found = self.invitations.pop(hashed(token), None)
            if found is None:
                return None
            if found.until >= self.clock():
                before = self.by_labeller.get(found.labeller) or Member(found.labeller, found.name, found.role, 0.0)
                member = replace(before, name=found.name, role=found.role, since=self.clock())
                self.by_labeller[found.labeller] = member
            self._keep()
            return self.by_labeller.get(found.labeller) if found.until >= self.clock() else None

    def change(self, labeller: str, **changes: Any) -> Member:
        """Another role, another wish. Refused for whoever is no member."""
        with self._lock:
            if labeller not in self.by_labeller:
                raise Refused("there is no such member. Invite them first.")
            self.by_labeller[labeller] = replace(self.by_labeller[labeller], **changes)
            if changes.get("role") == NOBODY:
                self.invitations = {k: each for k, each in self.invitations.items() if each.labeller != labeller}
            self._keep()
            return self.by_labeller[labeller]

    def keep(self, member: Member) -> None:
        """A wish of somebody who may not be a member yet: whoever sits at the machine."""
        with self._lock:
            self.by_labeller[member.labeller] = member
            self._keep()

    def _keep(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.with_name(self.path.name + ".part").touch(mode=0o600)
        write_json(
            self.path,
            {
                "members": {name: dataclasses.asdict(each) for name, each in self.by_labeller.items()},
                "invitations": {name: dataclasses.asdict(each) for name, each in self.invitations.items()},
            },
        )


def invited_name(members: Members, labeller: str, name: str, by: str) -> str:
    """A name that this role may invite: nobody but an owner makes a new way in for somebody who is there already."""
    checked_name(name, "the name of a labeller")
    there = members.by_labeller.get(labeller)
    if there is not None and there.role != NOBODY and by != "owner":
        raise Refused(f"{name!r} is a member already. Give another name, or ask the owner.")
    return name


def may(act: Act) -> Dependency:
    """A route that only some roles may ask: `dependencies=[may("label")]`."""

    def check(request: Request) -> None:
        if request.state.session is None:  # a page, which tells nothing without a session
            return
        role = member_of(request).role
        if role not in MAY[act]:
            raise Refusal(403, f"Your role here is {role}; this takes {' or '.join(sorted(MAY[act]))}.", "a wrong role")

    return Depends(check)


def member_of(request: Request) -> Member:
    return request.app.state.members.of(request.state.session)
