// Requests to the server. Whatever is no clear answer counts as unreachable, and is tried again by whoever asked.

import { settings } from "./settings.js";

const PATIENCE_MS = 15000;

/** The server said no, for good. */
export class Refused extends Error {
  constructor(status, says) {
    super(says);
    this.status = status;
  }
}

/** Nobody knows whether it arrived. */
export class Unreachable extends Error {}

export const post = (path, body = {}) => request(path, { method: "POST", body: JSON.stringify(body) });

export const get = (path) => request(path, {});

async function request(path, options, again = true) {
  let answer;
  let found;
  try {
    const headers = { "content-type": "application/json", "x-tutelage-proof": settings.proof };
    answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    found = answer.status === 204 ? {} : await answer.json();
  } catch (error) {
    throw new Unreachable(String(error));
  }
  if (answer.ok) return found;
  if (answer.status >= 500 || answer.status === 429) throw new Unreachable(found.says);
  if (answer.status === 401 && again && (await renewed())) return request(path, options, false);
  throw new Refused(answer.status, found.says ?? "The server refused.");
}

/** Whoever entered again in another tab has another session, whose proof stands in a fresh page. */
async function renewed() {
  try {
    const page = await (await fetch("/")).text();
    const found = JSON.parse(page.match(/id="settings">(.*?)<\/script>/)[1]);
    if (found?.labeller !== settings.labeller) return false;
    settings.proof = found.proof;
    return true;
  } catch {
    return false;
  }
}
