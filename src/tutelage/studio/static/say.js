// What changed, for those who do not see it change, and a line on the screen for those who do.

const spoken = document.getElementById("spoken");
const notice = document.getElementById("notice");
let hiding = 0;

/** Announced by screen readers; nothing shows. */
export function say(text) {
  spoken.textContent = "";
  requestAnimationFrame(() => {
    spoken.textContent = text;
  });
}

/** Announced, and shown for some seconds; or, where it matters for longer, until the next question comes. */
export function tell(text, seconds = 6) {
  notice.textContent = text;
  notice.hidden = !text;
  clearTimeout(hiding);
  if (seconds) hiding = setTimeout(() => (notice.hidden = true), seconds * 1000);
}

/** What was told was about a question that is gone. */
export function hush() {
  clearTimeout(hiding);
  notice.hidden = true;
  notice.textContent = "";
}
