// The mock by itself: `npm run mock -- [--port 7800] [--key KEY] [--closed] [--points N]`.
import { parseArgs } from "node:util";
import { mock } from "./server.mjs";

const { values } = parseArgs({
  options: { port: { type: "string", default: "7800" }, key: { type: "string" }, closed: { type: "boolean" }, points: { type: "string", default: "0" } },
});
mock({ key: values.key ?? null, closed: values.closed, points: Number(values.points) }).listen(Number(values.port), "127.0.0.1", () =>
  console.log(`http://127.0.0.1:${values.port}/`),
);
