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
  image: ImageData, ratio: number, cloud: Cloud, view: View, size: Size, radius: number,
  kind: Uint8Array, colours: number[], hidden: boolean[],
) {
  const { width, height } = image;
  const pixels = new Uint32Array(image.data.buffer);
  pixels.fill(0);
  const { side, cover } = disc(Math.round(radius * ratio * 4) / 4);
  const half = side >> 1;
  const touched = [...cover.keys()].filter((k) => cover[k] > 0);
  const covers = Uint8Array.from(touched, (k) => cover[k]);
  const steps = Int32Array.from(touched, (k) => Math.floor(k / side) * width + (k % side));
  const scale = view.scale * ratio;
  const left = (size.width / 2) * ratio - view.x * scale - half + 0.5;
  const top = (size.height / 2) * ratio + view.y * scale - half + 0.5;
  // In the order of the grid, neighbours in the picture are neighbours in memory.
  const { order, x: xs, y: ys } = cloud.grid;
  for (let j = 0; j < order.length; j++) {
    const x = Math.floor(left + xs[j] * scale);
    const y = Math.floor(top - ys[j] * scale);
    if (x <= -side || y <= -side || x >= width || y >= height) continue;
    const of = kind[order[j]];
    if (hidden[of]) continue;
    const colour = colours[of];
    if (x >= 0 && y >= 0 && x + side <= width && y + side <= height) {
      const at = y * width + x;
      for (let k = 0; k < steps.length; k++) pixels[at + steps[k]] = over(pixels[at + steps[k]], colour, covers[k]);
      continue;
    }
    for (const k of touched) {
      const [px, py] = [x + (k % side), y + Math.floor(k / side)];
      if (px >= 0 && py >= 0 && px < width && py < height) pixels[py * width + px] = over(pixels[py * width + px], colour, cover[k]);
    }
  }
}

/** The colour laid over a pixel, `covered` of 255. */
function over(below: number, colour: number, covered: number): number {
  const alpha = below >>> 24;
  if (covered === 255) return 0xff000000 | colour;
  if (alpha === 0) return (covered << 24) | colour;
  // Red and blue at once: they lie 16 bits apart.
  const red_blue = (((below & 0xff00ff) * (256 - covered) + (colour & 0xff00ff) * covered) >>> 8) & 0xff00ff;
  const green = (((below & 0xff00) * (256 - covered) + (colour & 0xff00) * covered) >>> 8) & 0xff00;
  return (Math.max(alpha, covered) << 24) | red_blue | green;
}
