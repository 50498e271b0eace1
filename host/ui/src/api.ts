// The HTTP interface of the server: its types, and a call for each operation.
import { key } from "./key.svelte";

export interface Tower { name: string; modality: string; encoders: string[] }
export interface Gallery {
  name: string; tower: string; modality: string; items: number; columns: string[]; dtype: string;
}
export interface Info {
  run: string; version: string; width: number; method: string; towers: Tower[]; galleries: Gallery[];
}

export type Cell = string | number | boolean | null;
/** What is searched with: one of the first four, or an item of a gallery. */
export interface Query {
  text?: string; image?: string; audio?: string; vector?: number[]; id?: string; gallery?: string;
}
export interface Search extends Query { from?: string; to?: string[]; k?: number; where?: string }
export interface Found {
  rank: number; score: number; id: string; item: string; metadata: Record<string, Cell>; content: string | null;
}
/** `problem` says why a gallery cannot be searched now. */
export interface Result { gallery: string; found: Found[]; problem?: string }

/** The points of a gallery: `x[i]`, `y[i]` is where `ids[i]` lies. */
export interface Points {
  method: string; explained: number[]; ids: string[]; x: number[]; y: number[]; color?: (string | number | null)[];
}

/** Shares by cutoff: `{"1": 0.31, "5": 0.62}`. */
export type Recall = Record<string, number>;
export interface Retrieval {
  from: string; to: string; queries: number; candidates: number; recall: Recall; median_rank: number; chance: Recall;
}
export interface Curves { epoch: number[]; [name: string]: (number | null)[] }
export interface Figures { retrieval: Retrieval[]; curves: Curves | null }

/** What the server says went wrong, in its words. */
export class Problem extends Error {
  constructor(message: string, readonly status: number, readonly param: string | null = null) {
    super(message);
  }
}

async function problem(answer: Response): Promise<Problem> {
  const text = await answer.text();
  try {
    const { error } = JSON.parse(text);
    return new Problem(error.message, answer.status, error.param ?? null);
  } catch {
    return new Problem(text.trim() || `The server answered with status ${answer.status}.`, answer.status);
  }
}

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  for (;;) {
    const tried = key.value;
    const headers = new Headers(init.headers);
    if (tried) headers.set("Authorization", `Bearer ${tried}`);
    let answer: Response;
    try {
      answer = await fetch(path, { ...init, headers });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Problem("The server does not answer. Is it still running?", 0);
    }
    if (answer.ok) return answer;
    const found = await problem(answer);
    if (answer.status !== 401) throw found;
    if (!(await key.ask(found.message, tried))) throw found;
  }
}

async function get<T>(path: string): Promise<T> {
  return (await call(path)).json();
}

const named = (gallery: string) => `/galleries/${encodeURIComponent(gallery)}`;

export const info = () => get<Info>("/info");
export const figures = () => get<Figures>("/run/figures");
export const openapi = () => get<Record<string, unknown>>("/openapi.json");
export const points = (gallery: string, color?: string) =>
  get<Points>(`${named(gallery)}/map${color ? `?color=${encodeURIComponent(color)}` : ""}`);
export const contentPath = (gallery: string, id: string) => `${named(gallery)}/content?id=${encodeURIComponent(id)}`;
export const content = async (path: string) => (await call(path)).blob();

export async function search(body: Search, signal?: AbortSignal): Promise<Result[]> {
  const answer = await call("/search", {
    method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });
  return (await answer.json()).results;
}
