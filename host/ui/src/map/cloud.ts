// The points of a gallery as arrays, with a grid over them to find the nearest.
import type { Points } from "../api";

export interface Cloud {
  n: number;
  ids: string[];
  x: Float32Array;
  /** Upwards, as in the space. */
  y: Float32Array;
  box: { left: number; right: number; bottom: number; top: number };
  grid: Grid;
}
/** Cell c holds the points `order[start[c] .. start[c + 1]]`; `x` and `y` are the places in that order. */
interface Grid {
  columns: number; rows: number; cell: number; start: Uint32Array; order: Uint32Array; x: Float32Array; y: Float32Array;
}

export function cloud(points: Points): Cloud {
  const x = Float32Array.from(points.x);
  const y = Float32Array.from(points.y);
  const box = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let i = 0; i < x.length; i++) {
    box.left = Math.min(box.left, x[i]);
    box.right = Math.max(box.right, x[i]);
    box.bottom = Math.min(box.bottom, y[i]);
    box.top = Math.max(box.top, y[i]);
  }
  return { n: x.length, ids: points.ids, x, y, box, grid: grid(x, y, box) };
}

function grid(x: Float32Array, y: Float32Array, box: Cloud["box"]): Grid {
  const wide = Math.max(box.right - box.left, box.top - box.bottom) || 1;
  const cell = wide / Math.max(1, Math.min(256, Math.ceil(Math.sqrt(x.length / 2))));
  const columns = Math.max(1, Math.floor((box.right - box.left) / cell) + 1);
  const rows = Math.max(1, Math.floor((box.top - box.bottom) / cell) + 1);
  const start = new Uint32Array(columns * rows + 1);
  const at = new Uint32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    at[i] = Math.floor((y[i] - box.bottom) / cell) * columns + Math.floor((x[i] - box.left) / cell);
    start[at[i] + 1]++;
  }
  for (let c = 0; c < columns * rows; c++) start[c + 1] += start[c];
  const next = start.slice();
  const order = new Uint32Array(x.length);
  for (let i = 0; i < x.length; i++) order[next[at[i]]++] = i;
  return { columns, rows, cell, start, order, x: Float32Array.from(order, (i) => x[i]), y: Float32Array.from(order, (i) => y[i]) };
}

/** The point nearest to (px, py) within `reach`, or -1. */
export function nearest(cloud: Cloud, px: number, py: number, reach: number, shown: (i: number) => boolean): number {
  const { box, grid: { columns, rows, cell, start, order, x, y } } = cloud;
  const clamp = (value: number, most: number) => Math.max(0, Math.min(most, Math.floor(value)));
  const c0 = clamp((px - reach - box.left) / cell, columns - 1), c1 = clamp((px + reach - box.left) / cell, columns - 1);
  const r0 = clamp((py - reach - box.bottom) / cell, rows - 1), r1 = clamp((py + reach - box.bottom) / cell, rows - 1);
  let best = -1;
  let least = reach * reach;
  for (let r = r0; r <= r1; r++) {
    for (let k = start[r * columns + c0]; k < start[r * columns + c1 + 1]; k++) {
      const i = order[k];
      const far = (x[k] - px) ** 2 + (y[k] - py) ** 2;
      if (far <= least && shown(i)) {
        least = far;
        best = i;
      }
    }
  }
  return best;
}

/** The next point from `i` in the direction (dx, dy): near, and little aside. -1 where there is none. */
export function next(cloud: Cloud, i: number, dx: number, dy: number, shown: (i: number) => boolean): number {
  let best = -1;
  let least = Infinity;
  for (let j = 0; j < cloud.n; j++) {
    const along = (cloud.x[j] - cloud.x[i]) * dx + (cloud.y[j] - cloud.y[i]) * dy;
    const aside = Math.abs((cloud.x[j] - cloud.x[i]) * dy - (cloud.y[j] - cloud.y[i]) * dx);
    if (along <= 0 || aside > along || along + 2 * aside >= least || !shown(j)) continue;
    least = along + 2 * aside;
    best = j;
  }
  return best;
}
