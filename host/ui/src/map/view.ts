// The part of the map that is seen: `scale` CSS pixels a unit, and the place in the middle.
import type { Cloud } from "./cloud";

export interface View { x: number; y: number; scale: number }
export interface Size { width: number; height: number }

const MARGIN = 28;

export function fit({ box }: Cloud, { width, height }: Size): View {
  const across = box.right - box.left || 1e-6;
  const up = box.top - box.bottom || 1e-6;
  const scale = Math.min((width - 2 * MARGIN) / across, (height - 2 * MARGIN) / up);
  return { x: (box.left + box.right) / 2, y: (box.bottom + box.top) / 2, scale: Math.max(scale, 1e-6) };
}

export const toScreen = (view: View, size: Size, x: number, y: number): [number, number] => [
  size.width / 2 + (x - view.x) * view.scale,
  size.height / 2 - (y - view.y) * view.scale,
];

export const toSpace = (view: View, size: Size, px: number, py: number): [number, number] => [
  view.x + (px - size.width / 2) / view.scale,
  view.y - (py - size.height / 2) / view.scale,
];

export const panned = (view: View, dx: number, dy: number): View => ({
  ...view, x: view.x - dx / view.scale, y: view.y + dy / view.scale,
});

/** Zoomed by `factor`; what is under (px, py) stays there. `whole` is the scale of the whole map. */
export function zoomed(view: View, size: Size, factor: number, px: number, py: number, whole: number): View {
  const scale = Math.max(whole / 2, Math.min(whole * 500, view.scale * factor));
  const [x, y] = toSpace(view, size, px, py);
  return { scale, x: x - (px - size.width / 2) / scale, y: y + (py - size.height / 2) / scale };
}

/** Moved so that (x, y) is in sight. */
export function inSight(view: View, size: Size, x: number, y: number): View {
  const [px, py] = toScreen(view, size, x, y);
  const inside = px > MARGIN && py > MARGIN && px < size.width - MARGIN && py < size.height - MARGIN;
  return inside ? view : { ...view, x, y };
}
