// What an item is called on the page.
import type { Cell, Found } from "../api";

const NAMES = ["caption", "title", "name", "label", "text"];

/** The caption where there is one, else the item without its folder. */
export function label({ id, item, content, metadata }: Found): string {
  if (content === null) return item;
  for (const name of NAMES) {
    const value = metadata[name];
    if (value !== undefined && value !== null && value !== "") return String(value);
  }
  return id.split("/").pop() || id;
}

/** A label for those who hear it: long captions are cut. */
export const brief = (label: string) => (label.length > 120 ? `${label.slice(0, 120).trimEnd()} …` : label);

/** A score with three digits behind the point, and a minus as wide as the digits. */
export const digits = (score: number) => score.toFixed(3).replace(/^-(0\.000)$/, "$1").replace("-", "\u2212");

/** A cell as it is read: of a fraction, five digits. */
export const word = (value: Cell) => String(typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value);

/** The columns that say something besides the label. */
export function rest(found: Found): [string, string][] {
  const said = label(found);
  // A path is told once: as the id, or as the item where the id is something else.
  const told = found.item.endsWith(found.id) ? [said, found.id, found.item] : [said, found.id];
  const columns = Object.entries(found.metadata).filter(([, value]) => value !== null && value !== "" && !told.includes(String(value)));
  const shown = columns.map(([name, value]): [string, string] => [name, word(value)]);
  return said === found.id ? shown : [["id", found.id], ...shown];
}
