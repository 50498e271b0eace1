// A browser whose console must stay empty.
import { chromium } from "playwright-core";

const ARGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
];

export async function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: ARGS });
}

/** A new page, with what its console said. `expect(pattern)` names lines that a step causes on purpose. */
export async function open(browser, base, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, permissions: ["microphone"], reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const said = [];
  const expected = [];
  const outside = [];
  page.on("console", (message) => {
    // Reading the canvas back is the tests' doing.
    if (["error", "warning"].includes(message.type()) && !message.text().startsWith("Canvas2D:")) said.push(message.text());
  });
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("request", (request) => { if (!request.url().startsWith(base) && !/^(data|blob):/.test(request.url())) outside.push(request.url()); });
  return {
    page, context,
    expect: (pattern) => expected.push(pattern),
    async end() {
      await context.close();
      const strange = said.filter((line) => !expected.some((pattern) => pattern.test(line)));
      if (strange.length) throw new Error(`the console said: ${strange.join("; ")}`);
      if (outside.length) throw new Error(`asked elsewhere: ${outside.join(", ")}`);
    },
  };
}

export const go = async (page, base, hash) => {
  await page.goto("about:blank");
  await page.goto(`${base}/${hash}`);
};

/** Waits until a search has its answer. */
export const answered = (page) => page.locator(".results[aria-busy=false] [role=status]", { hasText: "found" }).waitFor();

/** Drops bytes on the page, as a file from the desktop. */
export async function drop(page, name, type, base64) {
  await page.evaluate(({ name, type, base64 }) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type }));
    const event = (kind) => document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
    event("dragover");
    event("drop");
  }, { name, type, base64 });
}
