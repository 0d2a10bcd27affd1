"""The overview: who belongs to the project, how they answer, how far they agree, what is decided twice.

Owners, leads and viewers see it. Only owners and leads act in it, and no labeller sees another's answers anywhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import Field

from tutelage.feedback.asking import Label, Refused
from tutelage.feedback.store import Store
from tutelage.studio import opening
from tutelage.studio.api import Body, Id
from tutelage.studio.members import (
    LONGEST_DAYS,
    MAY,
    NOBODY,
    Members,
    Role,
    invited_name,
    may,
    member_of,
)
from tutelage.studio.security import Refusal

MOST_DISPUTED = 200
LOOK, LEAD, OWN = may("look"), may("lead"), may("own")
router = APIRouter(prefix="/api/team")


class Invite(Body):
    name: Annotated[str, Field(min_length=1, max_length=80)]
    role: Role
    days: Annotated[float, Field(gt=0, le=LONGEST_DAYS)] = 7.0


class Change(Body):
    labeller: Id
    role: Role


class Whose(Body):
    labeller: Id


class Exclude(Whose):
    excluded: bool
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class Decide(Body):
    questions: Annotated[list[Id], Field(min_length=1, max_length=MOST_DISPUTED)]


def page(request: Request) -> HTMLResponse:
    """The overview's page; whoever may not look gets one that says so."""
    return opening.shell(request, "team.html")


@router.get("", dependencies=[LOOK])
def overview(request: Request) -> dict[str, Any]:
    """Everything on the page, by plain numbers. Names of people only for those who lead."""
    from tutelage.evaluation import advice, labellers  # numpy and scipy: who only labels does not wait for them

    store: Store = request.app.state.store
    labels, checks, members = store.labels(), store.checks(), members_of(request)
    leads = member_of(request).role in MAY["lead"]
    skips = Counter(store.skips_by())
    names = store.names() if leads else {}
    rows = labellers.people(labels, checks, skips)
    agreed = labellers.agreements(labels, checks)
    called = {row["labeller"]: names.get(row["labeller"], f"labeller {i}") for i, row in enumerate(rows, start=1)}
    return {
        "questions": store.stats()["questions"],
        "people": [{**row, "name": called[row["labeller"]]} for row in rows],
        "agreement": {
            **agreed,
            "people": [called[each] for each in agreed["people"]],
            "kappas": named_pairs(agreed, called),
            "scales": [{**each, "kappas": named_pairs(each, called)} for each in agreed["scales"]],
        },
        "biases": labellers.biases(labels),
        "ratings": labellers.ratings(labels),
        "advice": advice.advice(labels),
        "members": [vars(each) for each in members.by_labeller.values() if each.role != NOBODY] if leads else [],
        "invitations": [invitation(each) for each in members.invitations.values()] if leads else [],
        "disputed": disputed(labels, store.decided()) if leads else [],
        "standing": standings(store, members) if leads else {},
        "leads": leads,
        "owns": member_of(request).role == "owner",
    }


def named_pairs(found: Mapping[str, Any], called: Mapping[str, str]) -> list[dict[str, Any]]:
    """Kappas with the names that the page shows."""
    kappas = found.get("kappas", [])
    return [{**each, "first": called[each["first"]], "second": called[each["second"]]} for each in kappas]


def invitation(given: Any) -> dict[str, Any]:
    """Without anything that opens."""
    return {"name": given.name, "role": given.role, "until": given.until}


def standings(store: Store, members: Members) -> dict[str, Any]:
    return {each: vars(store.standing(each)) for each, member in members.by_labeller.items() if member.role != NOBODY}


def disputed(labels: list[Label], settled: set[str]) -> list[dict[str, Any]]:
    """Questions that people answered differently and nobody decided, with how many said what."""
    by_question: dict[str, list[str]] = {}
    for each in labels:
        verdict = each.comparison.verdict.row()
        told = {
            name: verdict[name] for name in ("choice", "ranking", "no_choice", "ratings", "rules") if name in verdict
        }
        by_question.setdefault(each.question, []).append(json.dumps(told, sort_keys=True))
    found = []
    for question, answers in by_question.items():
        counts = Counter(answers)
        if len(answers) > 1 and len(counts) > 1 and question not in settled:
            found.append({"question": question, "votes": sorted(counts.values(), reverse=True)})
    return sorted(found, key=lambda each: each["votes"][0] / sum(each["votes"]))[:MOST_DISPUTED]


@router.post("/invite", dependencies=[LEAD])
def invite(request: Request, body: Invite) -> dict[str, Any]:
    """A link that lets one person in, once, with one role. Leads invite labellers and viewers; owners anybody."""
    mine, store = member_of(request), request.app.state.store
    if mine.role != "owner" and body.role in ("owner", "lead"):
        raise Refusal(403, f"Only an owner can invite as {body.role}.", "a wrong role")
    members = members_of(request)
    there = next((key for key, name in store.names().items() if name == body.name.strip()), None)
    name = invited_name(members, there or "", body.name.strip(), mine.role)
    if there is not None and there not in members.by_labeller and mine.role != "owner":
        raise Refused(f"somebody of the name {name!r} answered here before. Give another name, or ask the owner.")
    token = members.invite(store.labeller(name), name, body.role, body.days)
    return {"link": f"{request.app.state.address(request)}/?t={token}", "name": name, "role": body.role}


@router.post("/role", dependencies=[OWN])
def role(request: Request, body: Change) -> dict[str, Any]:
    """Another role for a member, from the next request on."""
    return {"role": members_of(request).change(body.labeller, role=body.role).role}


@router.post("/remove", dependencies=[LEAD])
def remove(request: Request, body: Whose) -> dict[str, Any]:
    """Nobody from now on: sessions and invitations end; what they answered stays."""
    members = members_of(request)
    above_me(request, body.labeller)
    members.change(body.labeller, role=NOBODY)
    request.app.state.sessions.end(body.labeller)
    return {"removed": body.labeller}


@router.post("/pass", dependencies=[LEAD])
def pass_(request: Request, body: Whose) -> dict[str, Any]:
    """Qualified by a lead's word, whatever the questions said."""
    return {"passed": members_of(request).change(body.labeller, passed=True).passed}


@router.post("/exclude", dependencies=[LEAD])
def exclude(request: Request, body: Exclude) -> dict[str, Any]:
    """Leaves one labeller's answers out of what is learned from, or takes them in again; an event with its reason."""
    above_me(request, body.labeller)
    store: Store = request.app.state.store
    ids = store.label_ids(body.labeller)
    return {"changed": store.exclude(ids, body.reason, body.excluded) if ids else 0}


@router.post("/adjudicate", dependencies=[LEAD])
def adjudicate(request: Request, body: Decide) -> dict[str, Any]:
    """Asks these questions of the lead, who decides them on the same page as everybody, as blind as everybody."""
    return {"asked": len(request.app.state.store.adjudicate(body.questions, member_of(request).labeller))}


def above_me(request: Request, labeller: str) -> None:
    """A lead acts on labellers and viewers, an owner on all."""
    other, mine = members_of(request).by_labeller.get(labeller), member_of(request)
    if mine.role == "owner":
        return
    if other is None:
        raise Refused("there is no such member.")
    if other.role in ("owner", "lead"):
        raise Refusal(403, f"Only an owner can do that to a {other.role}.", "a wrong role")


def members_of(request: Request) -> Members:
    return request.app.state.members
