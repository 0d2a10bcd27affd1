// Drawing a question anew without taking the focus from whoever is in it.

/** Draws; then the same control is in focus, or the card that the person has come to (of class "at"). */
export function redrawn(place, draw) {
  const key = document.activeElement?.dataset.key;
  draw();
  const same = key ? place.querySelector(`[data-key="${CSS.escape(key)}"]`) : null;
  const here = place.querySelector(".at");
  const next = here?.matches(".card") && !same?.matches("button") ? here : same;
  next?.focus({ preventScroll: true });
  here?.scrollIntoView({ block: "nearest" });
}
