// Each way to ask.
import assert from "node:assert/strict";
import { answered, drop, go } from "../browser.mjs";

/** Where two towers take texts, one is chosen; a picture forgets the choice. */
export async function towers({ page, base, server }) {
  await go(page, base, "#/search?text=a+red+circle");
  await answered(page);
  const asked = () => page.waitForRequest((request) => request.url().endsWith("/search")).then((request) => request.postDataJSON());
  const [first] = await Promise.all([asked(), page.getByLabel("Tower").selectOption("captions")]);
  assert.equal(first.from, "captions");
  await answered(page);
  const { base64, type } = await server.item("image");
  const [second] = await Promise.all([asked(), drop(page, "a picture.png", type, base64)]);
  assert.equal(second.from, undefined);
  await answered(page);
}

export const searches = {
  async "an empty page says what to do"({ page, base, server }) {
    await go(page, base, "");
    await page.getByRole("heading", { name: /sentence|picture|sound/ }).waitFor();
    for (const { name } of server.info.galleries) await page.getByRole("rowheader", { name, exact: true }).waitFor();
  },

  async "a sentence"({ page, base, server }) {
    if (!server.can("text")) return "no text tower";
    await go(page, base, "");
    await page.getByRole("textbox", { name: /sentence/ }).fill("a red circle");
    await page.keyboard.press("Enter");
    await answered(page);
    assert.match(page.url(), /#\/search\?text=a\+red\+circle/);
    for (const { name, items } of server.info.galleries) {
      const hits = page.getByRole("region", { name, exact: true }).getByRole("listitem");
      assert.equal(await hits.count(), Math.min(12, items), name);
    }
    const score = await page.locator(".score").first().innerText();
    assert.match(score, /-?[01]\.\d{3}/);
    await page.waitForFunction(() => [...document.querySelectorAll(".results img")].slice(0, 4).every((img) => img.complete && img.naturalWidth));
  },

  async "more like this, and back"({ page, base, server }) {
    if (!server.can("text")) return "no text tower";
    await go(page, base, "#/search?text=blue+square&k=3");
    await answered(page);
    const link = page.getByRole("link", { name: /^More like this: / }).first();
    await link.click();
    await page.getByText("More like", { exact: true }).waitFor();
    await answered(page);
    assert.match(page.url(), /[?&]id=.+&gallery=/);
    assert.match(page.url(), /k=3/, "options stay");
    await page.waitForFunction(() => document.activeElement?.classList.contains("results"));
    await page.goBack();
    await answered(page);
    assert.equal(await page.getByRole("textbox", { name: /sentence/ }).inputValue(), "blue square");
  },

  async "a dropped picture"({ page, base, server }) {
    if (!server.can("image") || !server.gallery("image")) return "no picture to drop";
    const { base64, type } = await server.item("image");
    await go(page, base, "");
    await page.getByRole("button", { name: /^Picture/ }).waitFor();
    await drop(page, "dropped picture", type, base64);
    await page.getByText("Your picture").waitFor();
    await answered(page);
  },

  async "a chosen picture"({ page, base, server }) {
    if (!server.can("image") || !server.gallery("image")) return "no picture to choose";
    const { base64, type } = await server.item("image");
    await go(page, base, "");
    await page.getByRole("button", { name: /^Picture/ }).waitFor();
    const choosing = page.waitForEvent("filechooser");
    await page.getByRole("button", { name: /^Picture/ }).click();
    await (await choosing).setFiles({ name: "chosen.png", mimeType: type, buffer: Buffer.from(base64, "base64") });
    await answered(page);
    await page.getByText("chosen.png").waitFor();
  },

  async "a dropped sound"({ page, base, server }) {
    if (!server.can("audio") || !server.gallery("audio")) return "no sound to drop";
    const { base64, type } = await server.item("audio");
    await go(page, base, "");
    await page.getByRole("button", { name: /^Sound/ }).waitFor();
    await drop(page, "dropped sound", type, base64);
    await page.getByText("Your sound").waitFor();
    await answered(page);
    const hits = page.getByRole("region", { name: server.gallery("audio").name, exact: true });
    assert.ok((await hits.locator("audio").count()) > 0, "sounds have players");
  },

  async "a recorded sound, and back to it"({ page, base, server }) {
    if (!server.can("audio")) return "no audio tower";
    await go(page, base, "");
    await page.getByRole("button", { name: "Record" }).click();
    await page.getByRole("button", { name: /^Stop/ }).waitFor();
    await page.waitForTimeout(1300);
    await page.getByRole("button", { name: /^Stop/ }).click();
    await page.getByText(/^Recording, \d+\.\d s$/).waitFor();
    await answered(page);
    await page.getByRole("link", { name: /^More like this: / }).first().click();
    await page.getByText("More like", { exact: true }).waitFor();
    await page.goBack();
    await page.getByText(/^Recording, \d+\.\d s$/).waitFor();
    await answered(page);
  },

  async "a file that is neither"({ page, base, server }) {
    if (!server.can("image") && !server.can("audio")) return "no tower for files";
    await go(page, base, "");
    await page.getByRole("search").waitFor();
    await drop(page, "notes.pdf", "application/pdf", "JVBERi0=");
    await page.getByRole("alert").getByText("notes.pdf is neither a picture nor a sound.").waitFor();
  },

  async "a filter, k and the galleries"({ page, base, server }) {
    if (!server.can("text")) return "no text tower";
    await go(page, base, "#/search?text=a+red+circle");
    await answered(page);
    const first = await page.getByRole("link", { name: /^More like this: / }).first().getAttribute("href");
    const id = new URLSearchParams(first.split("?")[1]).get("id");
    await page.getByLabel("Filter").fill(`id = "${id}"`);
    await page.keyboard.press("Enter");
    await page.getByText(/^1 item found/).waitFor();
    await page.getByLabel("Filter").fill("");
    await page.keyboard.press("Enter");
    await page.getByLabel("Results a gallery").fill("2");
    await page.keyboard.press("Enter");
    const counts = server.info.galleries.map(({ items }) => Math.min(2, items));
    const sum = counts.reduce((a, b) => a + b, 0);
    await page.getByText(new RegExp(`^${sum} items? found`)).waitFor();
    if (server.info.galleries.length > 1) {
      await page.getByRole("checkbox", { name: server.info.galleries[0].name }).uncheck();
      await page.getByText(new RegExp(`^${sum - counts[0]} items? found`)).waitFor();
      assert.match(page.url(), /to=/);
    }
  },
};
