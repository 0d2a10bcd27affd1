// What the server is asked: looking is quick, computing may take minutes, and what goes wrong is said in a sentence.

import { Refused, Unreachable, get } from "../requests.js";
import { settings } from "../settings.js";

const PATIENCE_MS = 10 * 60000;
const OFTEN_MS = 2000;
const SELDOM = 8; // a server that takes long is asked less often

/** params: values; lists are given several times, null is left out. */
export function ask(path, params = {}) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const each of Array.isArray(value) ? value : value === null || value === undefined ? [] : [value]) found.append(name, each);
  }
  return get(`/api/${path}${found.size ? `?${found}` : ""}`);
}

/** Something that a model has to compute. */
export async function compute(path, body) {
  const headers = { "content-type": "application/json", "x-tutelage-proof": settings.proof };
  let answer;
  let found;
  try {
    answer = await fetch(`/api/${path}`, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE_MS) });
    found = await answer.json();
  } catch (error) {
    throw new Unreachable(String(error));
  }
  if (!answer.ok) throw new Refused(answer.status, found.says ?? "The server refused.");
  return found;
}

/** Looks again and again while the page is seen; look() returns when it is done. */
export function again(look) {
  const loop = async () => {
    const began = performance.now();
    if (!document.hidden) await look().catch(() => {});
    setTimeout(loop, Math.max(OFTEN_MS, SELDOM * (performance.now() - began)));
  };
  setTimeout(loop, OFTEN_MS);
}

export function said(error) {
  return error instanceof Refused ? error.message : "The server does not answer. Is it still running?";
}
