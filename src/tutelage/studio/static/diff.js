// Which words of two texts are only in one of them: the shortest edit (Myers 1986), word by word.

const MOST_WORDS = 6000;
const MOST_EDITS = 800;

/** Two lists of [text, only here]: the words of each side, those in both and those that are not. */
export function differing(first, second) {
  const [a, b] = [words(first), words(second)];
  const same = a.length + b.length > MOST_WORDS ? null : common(a, b);
  if (!same) return [[[first, false]], [[second, false]]]; // too long or too unlike for a comparison to say anything
  return [marked(a, new Set(same.map(([i]) => i))), marked(b, new Set(same.map(([, j]) => j)))];
}

function words(text) {
  return text.match(/\s+|[\p{L}\p{N}_'’-]+|[^\s\p{L}\p{N}_]/gu) ?? [];
}

/** Pairs of places that stay, or null where too much differs. */
function common(a, b) {
  const trace = [];
  const furthest = new Map([[1, 0]]);
  for (let edits = 0; edits <= Math.min(a.length + b.length, MOST_EDITS); edits++) {
    trace.push(new Map(furthest));
    for (let line = -edits; line <= edits; line += 2) {
      const down = line === -edits || (line !== edits && furthest.get(line - 1) < furthest.get(line + 1));
      let x = down ? furthest.get(line + 1) : furthest.get(line - 1) + 1;
      while (x < a.length && x - line < b.length && a[x] === b[x - line]) x++;
      furthest.set(line, x);
      if (x >= a.length && x - line >= b.length) return walkedBack(trace, a.length, b.length);
    }
  }
  return null;
}

function walkedBack(trace, x, y) {
  const pairs = [];
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const [furthest, line] = [trace[edits], x - y];
    const down = line === -edits || (line !== edits && furthest.get(line - 1) < furthest.get(line + 1));
    const before = edits ? furthest.get(down ? line + 1 : line - 1) : 0;
    const start = edits ? before - (down ? line + 1 : line - 1) : 0;
    while (x > before && y > start && x > 0 && y > 0) pairs.push([--x, --y]);
    [x, y] = [before, start];
  }
  return pairs;
}

/** Neighbours of one kind put together, so that a passage is one mark; a blank within a passage belongs to it. */
function marked(all, kept) {
  const runs = [];
  all.forEach((word, place) => {
    const only = !kept.has(place) || (/^\s+$/.test(word) && !kept.has(place - 1) && !kept.has(place + 1) && place > 0);
    if (runs.length && runs.at(-1)[1] === only) runs.at(-1)[0] += word;
    else runs.push([word, only]);
  });
  return runs;
}
