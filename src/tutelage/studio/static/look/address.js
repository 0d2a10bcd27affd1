// What is looked at stands in the address, so that a page can be sent to somebody, and going back goes back.

const query = () => new URLSearchParams(location.search);

/** Runs that were chosen. */
export const chosen = () => query().getAll("run");

export const asked = (name, otherwise = null) => query().get(name) ?? otherwise;

/** The address of a page with these runs and this besides. */
export function link(page, runs, besides = {}) {
  const found = new URLSearchParams();
  for (const run of runs) found.append("run", run);
  for (const [name, value] of Object.entries(besides)) {
    if (value !== null && value !== "" && value !== undefined) found.set(name, value);
  }
  return `/look/${page}${found.size ? `?${found}` : ""}`;
}

/** Puts it into the address, and takes out what is null. */
export function keep(changes) {
  const found = query();
  for (const [name, value] of Object.entries(changes)) {
    found.delete(name);
    for (const each of Array.isArray(value) ? value : value === null || value === "" ? [] : [value]) found.append(name, each);
  }
  history.replaceState(null, "", `${location.pathname}${found.size ? `?${found}` : ""}`);
  carry();
}

/** The links to the other pages lead to the same runs. */
export function carry() {
  for (const each of document.querySelectorAll(".pages a")) {
    each.setAttribute("href", link(each.pathname.split("/").at(-1), chosen()));
  }
}
