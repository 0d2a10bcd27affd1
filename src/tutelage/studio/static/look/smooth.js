// Means over steps, and how far an axis reaches where there is nothing to see.

const SAME = 1e-6; // of the largest value: what differs by less is drawn as the same
const NOTHING = 1e-9; // rounding of sums near 0

/**
 * An exponential mean without a bias towards 0: the first point is the first value, a constant stays the constant.
 * weight: from 0 (the values) to below 1.
 */
export function smoothed(values, weight) {
  let mean = 0;
  let mass = 0;
  return values.map((value) => {
    mass = weight * mass + (1 - weight);
    mean += ((1 - weight) / mass) * (value - mean); // a step towards the value: none where it is the mean already
    return mean;
  });
}

/** Whether these values are one but for rounding. */
export function flat(values) {
  const [low, high] = ends(values);
  return high - low <= Math.max(SAME * Math.max(Math.abs(low), Math.abs(high)), NOTHING);
}

/** The range of an axis on which a constant is a level line; undefined where the values are no constant. */
export function level(values) {
  if (!values.length || !flat(values)) return undefined;
  const [low, high] = ends(values);
  const middle = (low + high) / 2;
  const reach = Math.abs(middle) > NOTHING ? Math.abs(middle) / 2 : 1;
  return [middle - reach, middle + reach];
}

const ends = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
