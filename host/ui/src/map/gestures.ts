// Drag, pinch, wheel and click on an element, told as pans and zooms.
export interface Gestures {
  pan(dx: number, dy: number): void;
  zoom(factor: number, x: number, y: number): void;
  /** The pointer without a button, or null where it left. */
  hover(at: [number, number] | null): void;
  click(x: number, y: number, touch: boolean): void;
}

const STILL = 5; // CSS pixels a click may move

export function gestures(element: HTMLElement, on: Gestures): () => void {
  const down = new Map<number, [number, number]>();
  let moved = 0;
  const at = (event: MouseEvent): [number, number] => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const off = new AbortController();
  const listen = <K extends keyof HTMLElementEventMap>(name: K, does: (event: HTMLElementEventMap[K]) => void) =>
    element.addEventListener(name, does, { passive: false, signal: off.signal });

  listen("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (down.size === 0) moved = 0;
    down.set(event.pointerId, at(event));
    element.setPointerCapture(event.pointerId);
  });
  listen("pointermove", (event) => {
    const before = down.get(event.pointerId);
    const now = at(event);
    if (!before) return on.hover(now);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    moved += Math.hypot(dx, dy);
    if (down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place: [number, number]) => Math.max(1, Math.hypot(place[0] - other[0], place[1] - other[1]));
      on.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      on.pan(dx / 2, dy / 2);
    } else if (moved > STILL) on.pan(dx, dy);
    down.set(event.pointerId, now);
  });
  const up = (event: PointerEvent) => {
    if (!down.delete(event.pointerId)) return;
    if (event.type === "pointerup" && down.size === 0 && moved <= STILL) on.click(...at(event), event.pointerType === "touch");
  };
  listen("pointerup", up);
  listen("pointercancel", up);
  listen("pointerleave", (event) => {
    // The item's card lies beside the element: on the way to it the item stays.
    const beside = event.relatedTarget instanceof Node && element.parentElement?.contains(event.relatedTarget);
    if (event.pointerType !== "touch" && !beside) on.hover(null);
  });
  listen("wheel", (event) => {
    event.preventDefault();
    const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    on.zoom(Math.exp(-Math.max(-120, Math.min(120, step)) * 0.0025), ...at(event));
  });
  return () => off.abort();
}
