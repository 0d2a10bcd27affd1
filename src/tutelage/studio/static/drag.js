// Dragging a card by its handle with a mouse, a pen or a finger. Everything that it does, keys and buttons do, too.

const EDGE = 60; // pixels from the edge of the window within which it scrolls

/** dropped(card, where): on which other card it was let go: "before", "with" or "after" it. */
export function draggable(handle, card, dropped) {
  handle.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    handle.setPointerCapture(event.pointerId);
    card.classList.add("dragged");
    let target = null;

    const follow = (moved) => {
      const edge = moved.clientY < EDGE ? -12 : moved.clientY > window.innerHeight - EDGE ? 12 : 0;
      if (edge) window.scrollBy(0, edge);
      mark(target, null);
      target = under(moved, card);
      mark(target?.card, target?.where);
    };
    const leave = (let_go) => {
      handle.removeEventListener("pointermove", follow);
      card.classList.remove("dragged");
      mark(target?.card, null);
      if (let_go && target) dropped(target.card, target.where);
    };
    handle.addEventListener("pointermove", follow);
    handle.addEventListener("pointerup", () => leave(true), { once: true });
    handle.addEventListener("pointercancel", () => leave(false), { once: true });
  });
}

function under(event, card) {
  const found = document
    .elementsFromPoint(event.clientX, event.clientY)
    .map((each) => each.closest(".card"))
    .find((each) => each && each !== card);
  if (!found) return null;
  const box = found.getBoundingClientRect();
  const share = (event.clientY - box.top) / box.height;
  return { card: found, where: share < 0.3 ? "before" : share > 0.7 ? "after" : "with" };
}

function mark(card, where) {
  const element = card?.card ?? card;
  if (!element) return;
  if (where) element.dataset.drop = where;
  else delete element.dataset.drop;
}
