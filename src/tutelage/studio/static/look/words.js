// Numbers and times as people read them.

export function short(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(1).replace("-", "−");
  if (Number.isInteger(value)) return value.toLocaleString("en").replace("-", "−");
  const whole = Math.max(0, Math.floor(Math.log10(Math.abs(value)))) + 1;
  return value.toFixed(Math.max(0, digits - whole)).replace("-", "−");
}

export function lasting(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export const ago = (seconds) => (seconds < 5 ? "now" : `${lasting(seconds)} ago`);

/** kl_nats_per_sequence -> kl nats per sequence */
export const plainly = (name) => name.replaceAll("_", " ");
