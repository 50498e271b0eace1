// Texts and files that are not as one expects, on the mock alone.
import assert from "node:assert/strict";
import { answered, go } from "../browser.mjs";

/** The browser says so of a file that is gone. */
const GONE = /status of 404/;
const region = (page, name) => page.getByRole("region", { name });

export const oddities = {
  async "a text is shown as it is, in its direction"({ page, base, expect }) {
    await go(page, base, "#/search?text=odd&to=odd+texts&to=odd+files");
    await answered(page);
    assert.equal(await page.title(), "odd · fusemix", "what looks like HTML is no HTML");
    assert.equal(await page.locator(".results b img, .results .label img, .results script").count(), 0);
    for (const gallery of ["odd texts", "odd files"]) {
      const arabic = region(page, gallery).locator(".label", { hasText: "وردة" });
      assert.equal(await arabic.evaluate((label) => getComputedStyle(label).direction), "rtl");
    }
    expect(GONE);
  },

  async "a long text is cut until it is asked for"({ page, base, expect }) {
    await go(page, base, "#/search?text=odd&to=odd+texts&to=odd+files");
    await answered(page);
    const height = async (label) => (await label.boundingBox()).height;
    const text = region(page, "odd texts").locator(".label", { hasText: "It goes on" });
    assert.ok((await height(text)) < 200);
    await page.getByRole("button", { name: "Show all" }).click();
    assert.ok((await height(text)) > 1000);
    const caption = region(page, "odd files").locator(".label", { hasText: "It goes on" });
    assert.ok((await height(caption)) < 60);
    await page.getByLabel(/^Details of It goes on/).click();
    assert.ok((await height(caption)) > 1000);
    const names = await page.getByRole("link").evaluateAll((links) => links.map((link) => link.getAttribute("aria-label") ?? ""));
    assert.ok(Math.max(...names.map((name) => name.length)) < 160, "no link has a name that takes minutes to hear");
    expect(GONE);
  },

  async "a file that is gone is said where it would be"({ page, base, expect }) {
    await go(page, base, "#/search?text=odd&to=odd+files");
    await answered(page);
    await region(page, "odd files").locator(".problem").waitFor();
    assert.equal(await region(page, "odd files").locator("img").count(), 2, "other names are found, whatever they hold");
    await page.getByRole("link", { name: /^More like this/ }).last().click();
    await page.getByText("More like", { exact: true }).waitFor();
    await answered(page);
    expect(GONE);
  },

  async "a gallery without items"({ page, base }) {
    await go(page, base, "#/search?text=odd&to=nothing&to=shapes");
    await answered(page);
    await region(page, "nothing").getByText("This gallery is empty.").waitFor();
    await go(page, base, "#/map?gallery=nothing");
    await page.getByText("there is nothing to draw").waitFor();
  },
};
