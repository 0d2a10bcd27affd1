// What this browser keeps for one labeller of one project, through reloads and crashes.

import { settings } from "./settings.js";

const PREFIX = `tutelage:${settings.labeller}:`;
const instead = new Map(); // where the browser keeps nothing (private windows, a full disk)

export let durable = true;

export function read(name, otherwise = null) {
  try {
    const found = localStorage.getItem(PREFIX + name) ?? instead.get(name);
    return found === null || found === undefined ? otherwise : JSON.parse(found);
  } catch {
    return otherwise;
  }
}

export function write(name, value) {
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(PREFIX + name, text);
  } catch {
    durable = false;
    instead.set(name, text);
  }
}

export function forget(name) {
  instead.delete(name);
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    durable = false;
  }
}

/** Names that begin so, in their order. */
export function names(start) {
  const found = [...instead.keys()];
  try {
    for (let i = 0; i < localStorage.length; i++) {
      const name = localStorage.key(i);
      if (name.startsWith(PREFIX)) found.push(name.slice(PREFIX.length));
    }
  } catch {
    durable = false;
  }
  return found.filter((name) => name.startsWith(start)).sort();
}
