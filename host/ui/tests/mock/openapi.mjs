const error = { description: "What went wrong", content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } } };
const json = (name, description) => ({ description, content: { "application/json": { schema: { $ref: `#/components/schemas/${name}` } } } });
const text = (description) => ({ type: "string", description });
const list = (items) => ({ type: "array", items });
const object = (properties, required = Object.keys(properties)) => ({ type: "object", required, properties });

export const openapi = {
  openapi: "3.1.0",
  info: { title: "fusemix", version: "0.1.0", description: "Search a fused space by text, picture and sound." },
  security: [{ key: [] }],
  paths: {
    "/info": { get: { summary: "The space: its towers and galleries", tags: ["space"], responses: { 200: json("Info", "The space"), 401: error } } },
    "/search": {
      post: {
        summary: "What is near of each gallery", tags: ["search"],
        description: "Give one of `text`, `image`, `audio`, `vector`, or an `id` with its `gallery`.",
        requestBody: { required: true, content: { "application/json": { schema: { $ref: "#/components/schemas/Search" }, example: { text: "a red flower", to: ["stamps"], k: 3 } } } },
        responses: { 200: json("Results", "The nearest items, by gallery"), 400: error, 401: error },
      },
    },
    "/galleries/{name}/content": {
      get: {
        summary: "The bytes of a picture or sound", tags: ["galleries"],
        parameters: [{ name: "name", in: "path", required: true, schema: text() }, { name: "id", in: "query", required: true, description: "The item's id", schema: text() }],
        responses: { 200: { description: "The bytes", content: { "image/*": {}, "audio/*": {} } }, 404: error },
      },
    },
    "/galleries/{name}/map": {
      get: {
        summary: "The points of a gallery in two dimensions", tags: ["galleries"],
        parameters: [{ name: "name", in: "path", required: true, schema: text() }, { name: "color", in: "query", description: "A column whose values come with the points", schema: text() }],
        responses: { 200: json("Map", "The points"), 404: error },
      },
    },
    "/run/figures": { get: { summary: "The run's figures and curves", tags: ["space"], responses: { 200: json("Figures", "Retrieval and curves") } } },
  },
  components: {
    securitySchemes: { key: { type: "http", scheme: "bearer" } },
    schemas: {
      Error: object({ error: object({ message: text("What went wrong, and what to try"), type: text(), param: { type: ["string", "null"] }, code: { type: ["string", "null"] } }) }),
      Tower: object({ name: text(), modality: text("`text`, `image`, `audio` or another word"), encoders: list(text()) }),
      Gallery: object({ name: text(), tower: text(), modality: text(), items: { type: "integer" }, columns: list(text()), dtype: { type: "string", enum: ["f32", "f16"] } }),
      Info: object({ run: text(), version: text(), width: { type: "integer" }, method: text(), towers: list({ $ref: "#/components/schemas/Tower" }), galleries: list({ $ref: "#/components/schemas/Gallery" }) }),
      Search: object({
        text: text("A sentence"), image: text("A picture as a data URL"), audio: text("A sound as a data URL"), vector: list({ type: "number" }),
        id: text("An item of `gallery`: more like it"), gallery: text(), from: text("The tower that encodes the query"), to: list(text()),
        k: { type: "integer", minimum: 1, maximum: 1000, default: 10 }, where: text("A filter over the columns"),
      }, []),
      Found: object({ rank: { type: "integer" }, score: { type: "number", format: "float", description: "Cosine" }, id: text(), item: text(), metadata: { type: "object" }, content: { anyOf: [text("Where its bytes are"), { type: "null" }] } }),
      Results: object({ results: list(object({ gallery: text(), found: list({ $ref: "#/components/schemas/Found" }) })) }),
      Map: object({ method: text(), explained: list({ type: "number" }), ids: list(text()), x: list({ type: "number" }), y: list({ type: "number" }), color: list({ type: ["string", "number", "null"] }) }, ["method", "explained", "ids", "x", "y"]),
      Figures: object({ retrieval: list({ type: "object" }), curves: { type: ["object", "null"] } }),
    },
  },
};
