// What goes wrong is said where it belongs.
import assert from "node:assert/strict";
import { answered, drop, go } from "../browser.mjs";

const REFUSED = /status of (400|404|415|422)/;

export const troubles = {
  async "a filter that is none"({ page, base, expect, server }) {
    if (!server.can("text")) return "no text tower";
    await go(page, base, "#/search?text=a+red+circle");
    await answered(page);
    await page.getByLabel("Filter").fill("nosuchcolumn <");
    await page.keyboard.press("Enter");
    const words = await page.locator("#options-problem").innerText();
    assert.ok(words.length > 10, words);
    assert.equal(await page.getByLabel("Filter").getAttribute("aria-invalid"), "true");
    await page.getByLabel("Filter").fill("");
    await page.keyboard.press("Enter");
    await answered(page);
    expect(REFUSED);
  },

  async "a sound that is none"({ page, base, expect, server }) {
    if (!server.can("audio")) return "no audio tower";
    await go(page, base, "");
    await page.getByRole("button", { name: /^Sound/ }).waitFor();
    await drop(page, "broken.wav", "audio/wav", Buffer.from("this is no sound").toString("base64"));
    await page.getByRole("alert").filter({ hasText: /\S{3}/ }).waitFor();
    // The player of a file that is none says so too.
    expect(/status of|decode|DEMUXER/i);
  },

  async "an item that is gone"({ page, base, expect, server }) {
    const { name } = server.info.galleries[0];
    await go(page, base, `#/search?id=no-such-item&gallery=${encodeURIComponent(name)}`);
    await page.getByRole("alert").filter({ hasText: "no-such-item" }).waitFor();
    expect(REFUSED);
  },

  async "a gallery that cannot be searched, beside others"({ page, base, server }) {
    if (!server.can("text") || server.info.galleries.length < 2) return "no second gallery";
    await page.route("**/search", async (route) => {
      const answer = await (await route.fetch()).json();
      Object.assign(answer.results[0], { found: [], problem: "there is no such folder" });
      await route.fulfill({ json: answer });
    });
    await go(page, base, "#/search?text=a+red+circle");
    await answered(page);
    const [broken, whole] = server.info.galleries.map(({ name }) => page.getByRole("region", { name, exact: true }));
    await broken.getByRole("alert").filter({ hasText: "there is no such folder" }).waitFor();
    assert.ok(await whole.getByRole("listitem").count() > 0);
    await page.unroute("**/search");
  },

  async "a file after loading again"({ page, base }) {
    await go(page, base, "#/search?file=7");
    await page.getByRole("alert").filter({ hasText: "no longer here" }).waitFor();
  },
};

/** The key is asked for once, refused if wrong, and kept; pictures come with it. */
export async function keyAsked({ page, base, expect, key }) {
  await go(page, base, "#/search?text=a+red+circle");
  await page.getByRole("dialog").waitFor();
  await page.getByLabel("Key", { exact: true }).fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.getByLabel("Key", { exact: true }).fill(key);
  await page.keyboard.press("Enter");
  await answered(page);
  await page.waitForFunction(() => [...document.querySelectorAll(".results img")].every((img) => img.src.startsWith("blob:")));
  await page.reload();
  await answered(page);
  assert.equal(await page.getByRole("dialog").count(), 0);
  expect(/status of 401/);
}

/** Without a key the server's words stay, and the question can be asked again. */
export async function keyRefused({ page, base, expect }) {
  await go(page, base, "");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("alert").filter({ hasText: /key/i }).waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("dialog").waitFor();
  expect(/status of 401/);
}
