// Drives the page in a browser: `npm test` on the mock, `npm test -- http://127.0.0.1:PORT [--key KEY]` on a server.
// `--shots FOLDER` also takes pictures of it, `--only WORDS` runs the steps whose names contain them.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { launch, open } from "./browser.mjs";
import { mock } from "./mock/server.mjs";
import { server as ask } from "./server.mjs";
import { access } from "./steps/access.mjs";
import { maps } from "./steps/map.mjs";
import { oddities } from "./steps/odd.mjs";
import { pages } from "./steps/pages.mjs";
import { searches, towers } from "./steps/search.mjs";
import { shots } from "./steps/shots.mjs";
import { keyAsked, keyRefused, troubles } from "./steps/trouble.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true, options: { key: { type: "string" }, shots: { type: "string" }, only: { type: "string", default: "" } },
});
const mocks = [];
async function start(options) {
  const made = mock(options);
  mocks.push(made);
  await new Promise((done) => made.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${made.address().port}`;
}

const given = positionals[0]?.replace(/\/$/, "");
const base = given ?? (await start());
const server = await ask(base, values.key);
const browser = await launch();
let failed = 0;
let passed = 0;

async function step(name, does, at = base, key = values.key, about = server, withKey = true) {
  if (!name.includes(values.only)) return;
  const opened = await open(browser, at);
  if (withKey && key) await opened.page.addInitScript((key) => { if (location.protocol !== "about:") sessionStorage.setItem("fusemix-key", key); }, key);
  try {
    const note = await does({ ...opened, base: at, server: about, key });
    await opened.end();
    passed++;
    console.log(`ok    ${name}${note ? ` (${note})` : ""}`);
  } catch (error) {
    failed++;
    console.log(`FAIL  ${name}\n      ${String(error instanceof assert.AssertionError ? error.message : error).replaceAll("\n", "\n      ")}`);
    await opened.context.close();
  }
}

for (const [name, does] of Object.entries({ ...searches, ...maps, ...pages, ...troubles })) await step(name, does);
await step("axe finds nothing", access);
if (!given) {
  const locked = await start({ key: "secret" });
  await step("the key is asked for", keyAsked, locked, "secret", null, false);
  await step("the key is refused", keyRefused, locked, "secret", null, false);
  const closed = await start({ closed: true });
  await step("figures of a closed form", pages.figures, closed, null, await ask(closed));
  const two = await start({ captions: true });
  await step("two towers for texts", towers, two);
  const odd = await start({ oddities: true });
  for (const [name, does] of Object.entries(oddities)) await step(name, does, odd, null, await ask(odd));
  const large = await start({ points: 100_000 });
  await step("100,000 points", maps["100,000 points stay smooth"], large, null, await ask(large));
  if (values.shots) await step("pictures", (context) => shots(context, values.shots), large, null, await ask(large));
} else {
  if (values.key) await step("the key is asked for", keyAsked, base, values.key, server, false);
  if (values.shots) await step("pictures", (context) => shots(context, values.shots));
}

await browser.close();
for (const made of mocks) made.close();
console.log(`${passed} passed; ${failed} failed`);
process.exitCode = failed ? 1 : 0;
