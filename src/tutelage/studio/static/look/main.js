// A page for looking: whoever has a session gets it; what they chose stays in the address and in every link.

import "../settings.js";
import { element } from "../elements.js";
import { carry } from "./address.js";
import { said } from "./ask.js";

const THEMES = { auto: "as the system", light: "light", dark: "dark" };
const at = (id) => document.getElementById(id);

function themes() {
  const options = Object.entries(THEMES).map(([value, says]) => element("option", { value }, says));
  const select = element("select", { "aria-label": "Colours" }, ...options);
  select.value = document.documentElement.dataset.theme;
  select.addEventListener("change", () => {
    document.documentElement.dataset.theme = select.value;
    try {
      localStorage.setItem("theme", select.value);
    } catch {
      // it holds until the page is closed
    }
    document.dispatchEvent(new CustomEvent("theme"));
  });
  return select;
}

at("corner").append(themes());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("theme")));
carry();
document.querySelector(".pages [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
const { open } = await import(`./${document.body.dataset.page}.js`);
try {
  await open(at("content"));
  at("empty").hidden = true;
  at("content").hidden = false;
} catch (error) {
  at("empty").textContent = said(error);
}
document.body.dataset.ready = "";
