// What the server told this page at the start.

export const settings = JSON.parse(document.getElementById("settings").textContent);
