// What those who lead do: invite, give another role, pass, leave out, remove.

import { element } from "../elements.js";
import { post } from "../requests.js";
import { say, tell } from "../say.js";
import { settings } from "../settings.js";
import { section, table } from "./figures.js";

const ROLES = { labeller: "labeller: answers", viewer: "viewer: looks, answers nothing", lead: "lead: also invites and decides", owner: "owner: everything" };

let busy = false; // a key that is held, or a second click, does nothing twice

/** Does something, says so, and looks again. */
export async function act(path, body, says, again) {
  if (busy) return null;
  busy = true;
  let found;
  try {
    found = await post(`/api/team/${path}`, body);
  } catch (error) {
    tell(`That was not done: ${error.message}`, 0);
    return null;
  } finally {
    busy = false; // the next act need not wait for the numbers to be there anew
  }
  if (says) tell(says);
  say(says);
  await again();
  return found;
}

export function invitations(found, again) {
  const name = element("input", { type: "text", id: "invite-name", maxlength: 80, autocomplete: "off", required: true });
  const allowed = Object.keys(ROLES).filter((each) => found.owns || ["labeller", "viewer"].includes(each));
  const role = element("select", { id: "invite-role" }, ...allowed.map((value) => element("option", { value }, ROLES[value])));
  const link = element("p", { class: "link", role: "status" });
  const form = element(
    "form",
    { class: "line" },
    element("label", { for: "invite-name" }, "Name", name),
    element("label", { for: "invite-role" }, "Role", role),
    element("button", { class: "primary" }, "Make a link"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const made = await act("invite", { name: name.value.trim(), role: role.value }, "", () => {});
    if (!made) return;
    link.replaceChildren(`For ${made.name}, once, within seven days: `, element("code", {}, made.link));
    name.value = "";
  });
  const open = found.invitations.map((each) => [each.name, each.role, new Date(1000 * each.until).toLocaleDateString()]);
  const rows = open.length ? table("Open invitations", ["", "role", "until"], open) : null;
  return section("invite", "Invite", form, link, rows);
}

export function members(found, again) {
  if (!found.members.length) return section("members", "Members", element("p", {}, "Nobody was invited yet."));
  const rows = found.members.map((member) => [member.name, found.owns ? roles(member, again) : member.role, buttons(member, found, again)]);
  return section("members", "Members", table("Members", ["", "role", "what can be done"], rows));
}

/** A choice alone changes nothing: the arrow keys pass through roles on their way to another. */
function roles(member, again) {
  const select = element("select", { "aria-label": `Role of ${member.name}` }, ...Object.keys(ROLES).map((value) => element("option", { value }, value)));
  const give = element("button", { type: "button", class: "quiet", "aria-label": `Give this role: ${member.name}`, hidden: true }, "Give");
  select.value = member.role;
  select.addEventListener("change", () => (give.hidden = select.value === member.role));
  give.addEventListener("click", () => act("role", { labeller: member.labeller, role: select.value }, `${member.name} is ${select.value} now.`, again));
  return element("span", { class: "line" }, select, give);
}

function buttons(member, found, again) {
  if (member.labeller === settings.labeller) return "you";
  const button = (says, path, body, told) => {
    const made = element("button", { type: "button", class: "quiet", "aria-label": `${says}: ${member.name}` }, says);
    made.addEventListener("click", (event) => event.detail <= 1 && act(path, { labeller: member.labeller, ...body }, told, again));
    return made;
  };
  const standing = found.standing[member.labeller];
  const waits = standing?.total && !member.passed;
  const reason = { reason: "left out in the overview" };
  return element(
    "span",
    { class: "line" },
    waits ? button("Pass", "pass", {}, `${member.name} is qualified by your word.`) : null,
    button("Leave answers out", "exclude", { excluded: true, ...reason }, `What ${member.name} answered is left out of training. It is all still there.`),
    button("Take answers in", "exclude", { excluded: false, ...reason }, `What ${member.name} answered counts.`),
    button("Remove", "remove", {}, `${member.name} is no member any more. What they answered stays.`),
  );
}
