// A ranking as places from the best on, each a list of names that tie; every move makes a new one.

export const flat = (places) => places.flat();
export const placeOf = (places, name) => places.findIndex((place) => place.includes(name));

function without(places, name) {
  return places.map((place) => place.filter((each) => each !== name)).filter((place) => place.length);
}

/** On its own at place `number` (1 the best); what stood there moves down. */
export function put(places, name, number) {
  const rest = without(places, name);
  rest.splice(Math.min(number - 1, rest.length), 0, [name]);
  return rest;
}

/** One place up (-1) or down (1); out of a tie, it comes to stand just before or after those it tied with. */
export function move(places, name, step) {
  const at = placeOf(places, name);
  const tied = places[at].length > 1;
  const rest = without(places, name);
  const target = tied ? at + (step > 0 ? 1 : 0) : at + step;
  rest.splice(Math.max(0, Math.min(target, rest.length)), 0, [name]);
  return rest;
}

/** Ties it with the place above; what ties already comes to stand below. The first place has none above. */
export function tie(places, name) {
  const at = placeOf(places, name);
  if (places[at].length > 1) return move(places, name, 1);
  if (at === 0) return places;
  return places.flatMap((place, number) => (number === at ? [] : number === at - 1 ? [[...place, name]] : [place]));
}

/** Beside another one: "before" it, "after" it, or "with" it. */
export function drop(places, name, other, where) {
  if (name === other) return places;
  const rest = without(places, name);
  const at = placeOf(rest, other);
  if (where === "with") rest[at] = [...rest[at], name];
  else rest.splice(where === "before" ? at : at + 1, 0, [name]);
  return rest;
}
