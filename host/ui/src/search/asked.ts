// What is asked, as the address says it.
import type { Values } from "../route.svelte";

export interface Options { to: string[]; k: number; where: string; from: string }
export interface Asked extends Options { text: string; id: string; gallery: string; file: string }

export const K = 12;
export const MOST = 1000;

export function asked(values: URLSearchParams): Asked {
  const word = (name: string) => values.get(name) ?? "";
  const k = Number(values.get("k") ?? K);
  return {
    text: word("text"), id: word("id"), gallery: word("gallery"), file: word("file"),
    to: values.getAll("to"), where: word("where"), from: word("from"),
    k: Number.isInteger(k) && k >= 1 ? Math.min(k, MOST) : K,
  };
}

/** The options as values of the address, without those that are as they always are. */
export function options({ to, k, where, from }: Options): Values {
  return { to, k: k === K ? undefined : k, where, from };
}

/** The query as values of the address. */
export const query = ({ text, id, gallery, file }: Asked): Values => ({ text, id, gallery, file });

export const empty = (asked: Asked) => !asked.text && !asked.id && !asked.file;
