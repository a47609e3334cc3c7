"use strict";
// Pointer, wheel and keys on a canvas, as calls that say what is meant.

/** Pixels of the screen that an arrow key moves by. */
const KEY_STEP = 40;

/**
 * Have a canvas tell `act` of what is done to it: `move(dx, dy)` in pixels of CSS,
 * `zoom(factor, x, y)` about a place in them (none: the middle), and `key(name)`, which
 * returns whether it knew the key.
 */
function listenTo(canvas, act) {
  const pointers = new Map();
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const [x, y] = place(event);
    const [oldX, oldY] = pointers.get(event.pointerId);
    const others = [...pointers.entries()].filter(([id]) => id !== event.pointerId);
    pointers.set(event.pointerId, [x, y]);
    if (!others.length) {
      act.move(x - oldX, y - oldY);
      return;
    }
    const [otherX, otherY] = others[0][1];
    const before = Math.hypot(oldX - otherX, oldY - otherY);
    const after = Math.hypot(x - otherX, y - otherY);
    act.move((x - oldX) / 2, (y - oldY) / 2);
    if (before > 0 && after > 0) act.zoom(after / before, (x + otherX) / 2, (y + otherY) / 2);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener("dblclick", (event) => act.zoom(event.shiftKey ? 0.5 : 2, ...place(event)));
  canvas.addEventListener("wheel", (event) => {
    // without the focus, the wheel scrolls the page
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    act.zoom(Math.exp(-event.deltaY * lines * 0.002), ...place(event));
  }, {passive: false});
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = {
      ArrowLeft: [KEY_STEP, 0], ArrowRight: [-KEY_STEP, 0],
      ArrowUp: [0, KEY_STEP], ArrowDown: [0, -KEY_STEP],
    };
    const zooms = {"+": 1.5, "=": 1.5, "-": 1 / 1.5, "_": 1 / 1.5};
    if (event.key in moves) act.move(...moves[event.key]);
    else if (event.key in zooms) act.zoom(zooms[event.key]);
    else if (!act.key(event.key)) return;
    event.preventDefault();
  });
}

/** Have the buttons in an element call the function of the name in their `data-do`. */
function listenToButtons(element, actions) {
  for (const button of element.querySelectorAll("button[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do]());
  }
}
