// Discs drawn straight into pixels: 100,000 take a few milliseconds, with or without a GPU.
import type { Cloud } from "./cloud";
import type { Size, View } from "./view";

/** A disc of `side` x `side` pixels; each of `cover` is 0 to 255. */
interface Disc { side: number; cover: Uint8Array }

const discs = new Map<number, Disc>();

function disc(radius: number): Disc {
  const known = discs.get(radius);
  if (known) return known;
  const half = Math.ceil(radius);
  const side = 2 * half + 1;
  const cover = new Uint8Array(side * side);
  for (let i = 0; i < cover.length; i++) {
    const far = Math.hypot((i % side) - half, Math.floor(i / side) - half);
    cover[i] = Math.round(255 * Math.max(0, Math.min(1, radius + 0.5 - far)));
  }
  const made = { side, cover };
  discs.set(radius, made);
  return made;
}

/** The radius in CSS pixels: smaller where points are many, larger after zooming in. */
export function radius(n: number, zoom: number): number {
  const base = n > 50_000 ? 1.25 : n > 10_000 ? 1.75 : n > 2_000 ? 2.5 : 4;
  return Math.min(6, base * Math.max(1, Math.sqrt(zoom) * 0.8));
}

/** `colours[kind[i]]` is the colour of point i as 0xBBGGRR; kinds with `hidden` are left out. */
export function draw(
  image: ImageData, ratio: number, cloud: Cloud, view: View, size: Size, size_of_point: number,
  kind: Uint8Array, colours: number[], hidden: boolean[],
) {
  const { width, height } = image;
  const pixels = new Uint32Array(image.data.buffer);
  pixels.fill(0);
  const { side, cover } = disc(Math.round(size_of_point * ratio * 4) / 4);
  const half = side >> 1;
  const scale = view.scale * ratio;
  const left = (size.width / 2) * ratio - view.x * scale;
  const top = (size.height / 2) * ratio + view.y * scale;
  for (let i = 0; i < cloud.n; i++) {
    const x = Math.round(left + cloud.x[i] * scale) - half;
    const y = Math.round(top - cloud.y[i] * scale) - half;
    if (x <= -side || y <= -side || x >= width || y >= height || hidden[kind[i]]) continue;
    const colour = colours[kind[i]];
    const c0 = Math.max(0, -x), c1 = Math.min(side, width - x);
    const r1 = Math.min(side, height - y);
    for (let r = Math.max(0, -y); r < r1; r++) {
      let at = (y + r) * width + x + c0;
      for (let c = c0; c < c1; c++, at++) {
        const covered = cover[r * side + c];
        if (covered === 255) pixels[at] = 0xff000000 | colour;
        else if (covered) pixels[at] = over(pixels[at], colour, covered);
      }
    }
  }
}

/** The colour laid over a pixel, `covered` of 255. */
function over(below: number, colour: number, covered: number): number {
  const alpha = below >>> 24;
  if (alpha === 0) return ((covered << 24) | colour) >>> 0;
  const mix = (shift: number) => {
    const old = (below >>> shift) & 255;
    return old + ((((colour >>> shift) & 255) - old) * covered) / 255;
  };
  const sum = Math.max(alpha, covered);
  return ((sum << 24) | (mix(16) << 16) | (mix(8) << 8) | mix(0)) >>> 0;
}
