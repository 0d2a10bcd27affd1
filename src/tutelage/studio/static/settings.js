// What the server tells this page: it stands in the page where there is a session, else a one-time link makes one.
// Modules that need it wait for it.

const embedded = JSON.parse(document.getElementById("settings").textContent);

export const settings = embedded ?? (await entered());

async function entered() {
  const token = new URLSearchParams(location.search).get("t");
  history.replaceState(null, "", location.pathname); // no history keeps it
  if (!token && sessionStorage.getItem("left")) return told("You have left. Thank you for your work.");
  if (!token) return told("Open the link that the terminal printed. It works once; pressing Enter there gives another one.");
  try {
    const headers = { "content-type": "application/json" };
    const answer = await fetch("/api/enter", { method: "POST", headers, body: JSON.stringify({ token }) });
    const found = await answer.json();
    return answer.ok ? named(found) : told(found.says);
  } catch {
    return told("The server does not answer. Is it still running?");
  }
}

function named(found) {
  const place = document.querySelector("[data-title]") ?? document.querySelector("h1");
  place.textContent = found.title;
  if (place.tagName === "H1") document.title = `${found.title} · tutelage`;
  return found;
}

/** Nothing more happens on this page. */
function told(says) {
  document.getElementById("empty").textContent = says;
  return new Promise(() => {});
}
