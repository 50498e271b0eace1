// A server that answers as `fusemix serve` does, over made-up items.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { filter } from "./filter.mjs";
import { embed, galleries } from "./items.mjs";
import { openapi } from "./openapi.mjs";

const DIST = new URL("../../dist/", import.meta.url);
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const CSP = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; style-src 'self'; script-src 'self'";
const TOWERS = { image: "efficientnet", text: "minilm", audio: "whisper" };

class Refusal extends Error {
  constructor(status, message, param = null) {
    super(message);
    Object.assign(this, { status, param });
  }
}

function figures(closed) {
  const direction = (from, to, recall) => ({
    from, to, queries: 129, candidates: 129, recall, median_rank: from === "audio" ? 9.5 : 3, chance: { 1: 1 / 129, 5: 5 / 129, 10: 10 / 129 },
  });
  const epoch = Array.from({ length: 120 }, (_, i) => i + 1);
  return {
    retrieval: [
      direction("text", "image", { 1: 0.3101, 5: 0.6202, 10: 0.7442 }), direction("image", "text", { 1: 0.2946, 5: 0.5891, 10: 0.7209 }),
      direction("audio", "text", { 1: 0.0853, 5: 0.3178, 10: 0.5116 }),
    ],
    curves: closed ? null : {
      epoch, loss: epoch.map((e) => 1.1 + 5.2 * Math.exp(-e / 22) + 0.06 * Math.sin(e * 1.7)),
      validation: epoch.map((e) => (e % 5 ? null : 0.56 * (1 - Math.exp(-e / 28)) + 0.01 * Math.sin(e))),
    },
  };
}

function place(asked, all) {
  if (asked.text !== undefined) {
    if (!asked.text.trim()) throw new Refusal(400, "text: it is empty", "text");
    return embed(asked.text);
  }
  if (asked.id !== undefined) {
    const item = all.find((gallery) => gallery.name === asked.gallery)?.items.find((item) => item.id === asked.id);
    if (!item) throw new Refusal(404, `there is no item \`${asked.id}\` in the gallery \`${asked.gallery}\``, "id");
    return item.place ?? embed(item.item);
  }
  for (const kind of ["image", "audio"]) {
    if (asked[kind] === undefined) continue;
    const bytes = Buffer.from(asked[kind].replace(/^data:[^,]*,/, ""), "base64");
    const known = all.flatMap((gallery) => gallery.items).find((item) => item.bytes?.equals(bytes));
    const marks = { image: ["\x89PNG", "\xff\xd8", "GIF8"], audio: ["RIFF", "OggS", "fLaC", "ID3"] }[kind];
    if (!marks.some((mark) => bytes.toString("latin1").startsWith(mark))) throw new Refusal(400, `${kind}: these ${bytes.length} bytes are no format that can be decoded`, kind);
    return known?.place ?? embed(createHash("sha256").update(bytes).digest("hex"));
  }
  throw new Refusal(400, "give one of text, image, audio, vector or id");
}

function search(asked, all) {
  if (!Number.isInteger(asked.k ?? 10) || asked.k < 1) throw new Refusal(400, "k: it is a whole number from 1", "k");
  const query = place(asked, all);
  const chosen = asked.to ? all.filter((gallery) => asked.to.includes(gallery.name)) : all;
  const columns = [...new Set(chosen.flatMap((gallery) => gallery.columns))];
  let meets = () => true;
  try {
    if (asked.where) meets = filter(asked.where, columns);
  } catch (error) {
    throw new Refusal(400, error.message, "where");
  }
  return {
    results: chosen.map(({ name, items }) => {
      const scored = items.filter(meets).map((item) => ({ item, score: query.reduce((sum, value, d) => sum + value * (item.place ?? [])[d] || 0, 0) }));
      const found = scored.sort((a, b) => b.score - a.score).slice(0, asked.k ?? 10);
      return {
        gallery: name,
        found: found.map(({ item, score }, i) => ({
          rank: i + 1, score, id: item.id, item: item.item, metadata: item.metadata,
          content: item.type && `/galleries/${encodeURIComponent(name)}/content?id=${encodeURIComponent(item.id)}`,
        })),
      };
    }),
  };
}

function map({ items, columns }, color) {
  if (color && !columns.includes(color)) throw new Refusal(400, `color: there is no column \`${color}\``, "color");
  const at = items.map((item) => item.at ?? [item.place[0] + 0.3 * item.place[2], item.place[1] - 0.3 * item.place[3]]);
  return {
    method: "pca", explained: [0.21, 0.13], ids: items.map((item) => item.id), x: at.map(([x]) => x), y: at.map(([, y]) => y),
    ...(color ? { color: items.map((item) => item.metadata[color] ?? null) } : {}),
  };
}

/** `key`: what every call must carry. `closed`: a fit without curves. `points`: so many in one more gallery.
 * `captions`: a second tower for texts. `oddities`: galleries of odd items, and of none. */
export function mock({ key = null, closed = false, points = 0, captions = false, oddities = false } = {}) {
  const all = galleries(points, oddities);
  const info = {
    run: "run", version: "0.1.0", width: 128, method: closed ? "kernel-cca" : "fusemix",
    towers: [
      ...Object.entries(TOWERS).map(([name, encoder]) => ({ name, modality: name, encoders: [encoder] })),
      ...(captions ? [{ name: "captions", modality: "text", encoders: ["bert"] }] : []),
    ],
    galleries: all.map(({ name, modality, items, columns }) => ({ name, tower: modality, modality, items: items.length, columns, dtype: "f32" })),
  };

  async function answer(request, url) {
    const [, room, name, what] = url.pathname.split("/").map(decodeURIComponent);
    if (["info", "search", "galleries", "run"].includes(room) && key && request.headers.authorization !== `Bearer ${key}`) {
      throw new Refusal(401, "a key is needed: Authorization: Bearer KEY");
    }
    if (url.pathname === "/info") return info;
    if (url.pathname === "/openapi.json") return openapi;
    if (url.pathname === "/run/figures") return figures(closed);
    if (url.pathname === "/search" && request.method === "POST") {
      const parts = [];
      for await (const part of request) parts.push(part);
      return search(JSON.parse(Buffer.concat(parts)), all);
    }
    if (room === "galleries") {
      const gallery = all.find((one) => one.name === name);
      if (!gallery) throw new Refusal(404, `there is no gallery \`${name}\``);
      if (what === "map") return map(gallery, url.searchParams.get("color"));
      const item = gallery.items.find((one) => one.id === url.searchParams.get("id"));
      if (what === "content" && item?.bytes) return { type: item.type, bytes: item.bytes };
      throw new Refusal(404, "there is no such item");
    }
    const file = url.pathname === "/" ? "index.html" : url.pathname.slice(1);
    const bytes = await readFile(fileURLToPath(new URL(file, DIST))).catch(() => {
      throw new Refusal(404, "there is no such page");
    });
    return { type: TYPES[extname(file)], bytes };
  }

  return createServer(async (request, response) => {
    response.setHeader("Content-Security-Policy", CSP);
    response.setHeader("X-Content-Type-Options", "nosniff");
    try {
      const made = await answer(request, new URL(request.url, "http://mock"));
      response.setHeader("Content-Type", made.type ?? "application/json");
      response.end(made.bytes ?? JSON.stringify(made));
    } catch (error) {
      response.statusCode = error.status ?? 500;
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify({ error: { message: error.message, type: "invalid_request_error", param: error.param ?? null, code: null } }));
    }
  });
}
