// The colours of points: by modality, by the values of a column, or along a ramp for numbers.
import type { Points } from "../api";

/** One line of the legend. `rgb` is 0xRRGGBB. */
export interface Kind { name: string; rgb: number; count: number }
export interface Colouring {
  /** Of each point, the index of its kind. */
  kind: Uint8Array;
  kinds: Kind[];
  /** For numbers: the ends of the ramp, whose steps are the first kinds. */
  ramp: { low: number; high: number; steps: number } | null;
}

// Eight that stay apart for colour-blind readers, on white (first) and on black (second).
const WORDS: [number, number][] = [
  [0x0b6e66, 0x5fcabe], [0xd1600a, 0xffa057], [0x3f62c4, 0x8fadff], [0xb52c74, 0xff8cc4],
  [0x8a6d00, 0xe6c84a], [0x6f4aa8, 0xc3a2f5], [0x3b8f2e, 0x8ad97c], [0x8b4b32, 0xd8a48b],
];
const OTHER: [number, number] = [0x86837c, 0x9b9992];
const NONE: [number, number] = [0xc9c6bf, 0x55534e];
const MODALITIES = ["image", "audio", "text"];
const STEPS = 24;
// From little to much: the ends and the middle.
const RAMP: [number[], number[]] = [[0xdcd17b, 0x2f9c86, 0x27306b], [0x4a4f8f, 0x37a893, 0xf3e88a]];

export function colouring(points: Points, modality: string, dark: boolean): Colouring {
  const n = points.ids.length;
  const shade = (pair: [number, number]) => pair[dark ? 1 : 0];
  const values = points.color;
  if (!values) {
    const at = Math.max(0, MODALITIES.indexOf(modality));
    return { kind: new Uint8Array(n), kinds: [{ name: modality, rgb: shade(WORDS[at]), count: n }], ramp: null };
  }
  const given = values.filter((value) => value !== null && value !== "");
  const numbers = given.length > 0 && given.every((value) => typeof value === "number");
  if (numbers && new Set(given).size > WORDS.length) return ramped(values, given as number[], RAMP[dark ? 1 : 0], shade(NONE));
  return worded(values, shade);
}

function worded(values: (string | number | null)[], shade: (pair: [number, number]) => number): Colouring {
  const counts = new Map<string, number>();
  for (const value of values) if (value !== null && value !== "") counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  // Numbers in their order, words by how often they are.
  const numbers = values.every((value) => typeof value !== "string" || value === "");
  const sorted = [...counts].sort((a, b) => (numbers ? Number(a[0]) - Number(b[0]) : b[1] - a[1] || a[0].localeCompare(b[0])));
  const named = sorted.slice(0, WORDS.length);
  const kinds = named.map(([name, count], i) => ({ name, count, rgb: shade(WORDS[i]) }));
  const index = new Map(named.map(([name], i) => [name, i]));
  const kind = new Uint8Array(values.length);
  let others = 0, missing = 0;
  values.forEach((value, i) => {
    const none = value === null || value === "";
    const at = none ? undefined : index.get(String(value));
    if (none) missing++;
    else if (at === undefined) others++;
    kind[i] = at ?? (none ? named.length + 1 : named.length);
  });
  kinds.push({ name: `${sorted.length - named.length} other values`, count: others, rgb: shade(OTHER) });
  kinds.push({ name: "no value", count: missing, rgb: shade(NONE) });
  return { kind, kinds, ramp: null };
}

function ramped(values: (string | number | null)[], given: number[], ends: number[], none: number): Colouring {
  let low = Infinity, high = -Infinity;
  for (const value of given) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const kinds: Kind[] = Array.from({ length: STEPS }, (_, i) => ({ name: "", count: 0, rgb: along(ends, i / (STEPS - 1)) }));
  kinds.push({ name: "no value", count: values.length - given.length, rgb: none });
  const kind = Uint8Array.from(values, (value) =>
    typeof value === "number" ? Math.min(STEPS - 1, Math.floor(((value - low) / (high - low || 1)) * STEPS)) : STEPS,
  );
  return { kind, kinds, ramp: { low, high, steps: STEPS } };
}

function along(ends: number[], share: number): number {
  const at = Math.min(ends.length - 2, Math.floor(share * (ends.length - 1)));
  const part = share * (ends.length - 1) - at;
  const mix = (shift: number) => {
    const [from, to] = [(ends[at] >> shift) & 255, (ends[at + 1] >> shift) & 255];
    return Math.round(from + (to - from) * part) << shift;
  };
  return mix(16) | mix(8) | mix(0);
}

export const css = (rgb: number) => `#${rgb.toString(16).padStart(6, "0")}`;
/** In the order of pixels, 0xBBGGRR. */
export const pixel = (rgb: number) => ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16);
