// Turns the one-time link into a session. The token leaves the address bar first, so that no history keeps it.

const token = new URLSearchParams(location.search).get("t");
const status = document.getElementById("status");

async function enter() {
  history.replaceState(null, "", "/");
  if (!token) {
    status.textContent = "Open the link that the terminal printed. It works once; pressing Enter there gives another one.";
    return;
  }
  const answer = await fetch("/api/enter", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  if (answer.ok) {
    location.replace("/");
    return;
  }
  status.textContent = (await answer.json()).says;
}

enter().catch(() => {
  status.textContent = "The server does not answer. Is it still running?";
});
