// The answer to what is asked: searching, results, or what went wrong.
import { search, Problem, type Query, type Result } from "../api";
import { empty, type Asked } from "./asked";
import { dataUrl, file } from "./files";

export class Answer {
  results = $state.raw<Result[] | null>(null);
  problem = $state.raw<Problem | null>(null);
  busy = $state(false);
  #running: AbortController | undefined;

  async ask(asked: Asked) {
    this.#running?.abort();
    this.problem = null;
    this.busy = false;
    if (empty(asked)) {
      this.results = null;
      return;
    }
    const running = (this.#running = new AbortController());
    this.busy = true;
    try {
      const { to, k, where, from } = asked;
      const body = {
        ...(await query(asked)), k,
        ...(from && !asked.id ? { from } : {}), ...(to.length ? { to } : {}), ...(where ? { where } : {}),
      };
      const results = await search(body, running.signal);
      if (running === this.#running) this.results = results;
    } catch (error) {
      if (running.signal.aborted) return;
      this.results = null;
      this.problem = error instanceof Problem ? error : new Problem(String(error), 0);
    }
    if (running === this.#running) this.busy = false;
  }
}

async function query({ text, id, gallery, file: number }: Asked): Promise<Query> {
  if (id) return { id, gallery };
  if (!number) return { text };
  const kept = file(number);
  if (!kept) throw new Problem("That file is no longer here: the page was loaded again since. Drop or record it once more.", 0);
  return { [kept.kind]: await dataUrl(kept.bytes) };
}
