// Shares as every page writes them: the value, its 95 % interval, how many it is of; of fewer than 30, too few to tell.

export const FEWEST = 30;
export const percent = (value) => `${Math.round(100 * value)} %`;

/** " (60 to 80 %)", or nothing where the interval is not known. */
export function range(low, high) {
  return low === null || low === undefined || high === null || high === undefined ? "" : ` (${Math.round(100 * low)} to ${percent(high)})`;
}

/** "n = 12: too few to tell"; runs of the first version did not record n. */
export function sized(n) {
  if (n === null || n === undefined) return "n not recorded";
  return `n = ${n.toLocaleString("en")}${n < FEWEST ? ": too few to tell" : ""}`;
}

export function estimated(value, low, high, n) {
  return value === null || value === undefined ? "–" : `${percent(value)}${range(low, high)}, ${sized(n)}`;
}
