// What the tests ask the server beside the page.
import assert from "node:assert/strict";

export async function server(base, key) {
  const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const get = async (path) => {
    const answer = await fetch(base + path, { headers });
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return answer;
  };
  const info = await (await get("/info")).json();
  const gallery = (modality) => info.galleries.find((one) => one.modality === modality);
  const text = info.towers.some((tower) => tower.modality === "text");
  return {
    info, gallery,
    json: async (path) => (await get(path)).json(),
    /** An item of a gallery, with its bytes in base64. */
    async item(modality) {
      const { name } = gallery(modality);
      const { ids } = await (await get(`/galleries/${encodeURIComponent(name)}/map`)).json();
      const content = await get(`/galleries/${encodeURIComponent(name)}/content?id=${encodeURIComponent(ids[0])}`);
      const bytes = Buffer.from(await content.arrayBuffer());
      return { id: ids[0], gallery: name, type: content.headers.get("content-type"), base64: bytes.toString("base64") };
    },
    can: (...modalities) => modalities.every((modality) => info.towers.some((tower) => tower.modality === modality)),
    text,
  };
}
