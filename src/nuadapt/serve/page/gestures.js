/**
 * Wheel, drag, pinch and keys on a canvas, told as few kinds of movement:
 * `move(dx, dy)` in CSS pixels, `zoom(factor, x, y)` about a point (null: the middle), `reset()`, `hover(x, y)` or
 * `hover(null)` when the pointer leaves.
 */
const STEP = 40; // CSS pixels that an arrow key moves
const ZOOM_STEP = 1.3;

export function listen(canvas, { move, zoom, reset, hover = () => {} }) {
  const pointers = new Map(); // id -> [x, y] of every finger or button that is down
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    if (!pointers.has(event.pointerId)) return hover(...now);
    const before = [...pointers.values()];
    const last = pointers.get(event.pointerId);
    pointers.set(event.pointerId, now);
    if (pointers.size === 1) return move(now[0] - last[0], now[1] - last[1]);
    return pinch(before, [...pointers.values()], { move, zoom });
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(event.shiftKey ? 0.5 : 2, ...place(event)));
  canvas.addEventListener("keydown", (event) => {
    const act = keys({ move, zoom, reset })[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
}

/** Two fingers: their middle moves, their distance zooms. */
function pinch(before, now, { move, zoom }) {
  const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const apart = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
  const [from, to] = [middle(before), middle(now)];
  move(to[0] - from[0], to[1] - from[1]);
  if (apart(before) > 0 && apart(now) > 0) zoom(apart(now) / apart(before), ...to);
}

function keys({ move, zoom, reset }) {
  return {
    ArrowLeft: () => move(STEP, 0), ArrowRight: () => move(-STEP, 0),
    ArrowUp: () => move(0, STEP), ArrowDown: () => move(0, -STEP),
    "+": () => zoom(ZOOM_STEP, null, null), "=": () => zoom(ZOOM_STEP, null, null),
    "-": () => zoom(1 / ZOOM_STEP, null, null), 0: reset,
  };
}
