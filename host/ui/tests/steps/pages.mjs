// Figures, API, theme, and the page by keyboard alone.
import assert from "node:assert/strict";
import { answered, go } from "../browser.mjs";

export const pages = {
  async "figures"({ page, base, server }) {
    await go(page, base, "#/figures");
    await page.getByRole("heading", { name: "Retrieval" }).waitFor();
    const { retrieval, curves } = await server.json("/run/figures");
    assert.equal(await page.locator("tbody th[scope=row]").count(), retrieval.length);
    if (curves) assert.ok((await page.locator("figure svg path").count()) > 0);
    else await page.getByText("closed form").waitFor();
  },

  async "the API"({ page, base, server }) {
    await go(page, base, "#/api");
    const doc = await server.json("/openapi.json");
    const count = Object.values(doc.paths).reduce((sum, item) => sum + ["get", "post", "put", "patch", "delete", "head", "options"].filter((method) => item[method]).length, 0);
    await page.getByRole("heading", { name: "/search" }).first().waitFor();
    assert.equal(await page.getByText(/^curl /).count(), count, "a curl line each");
    await page.getByRole("navigation", { name: "Operations" }).getByRole("link").last().click();
    await page.waitForFunction(() => document.activeElement?.tagName === "SECTION");
  },

  async "the theme"({ page, base }) {
    await go(page, base, "");
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const before = await ground();
    await page.getByRole("button", { name: /theme/ }).click();
    assert.notEqual(await ground(), before);
    const after = await ground();
    await page.reload();
    assert.equal(await ground(), after, "it is kept");
  },

  async "by keyboard alone"({ page, base, server }) {
    if (!server.can("text")) return "no text tower";
    await go(page, base, "");
    await page.getByRole("textbox", { name: /sentence/ }).waitFor();
    const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent.trim());
    await page.keyboard.press("Tab");
    assert.match(await focused(), /Skip/);
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assert.match(await focused(), /sentence/);
    await page.keyboard.type("yellow ring");
    await page.keyboard.press("Enter");
    await answered(page);
    for (let tabs = 0; !/^More like this/.test(await focused()); tabs++) {
      assert.ok(tabs < 60, "the results can be reached");
      await page.keyboard.press("Tab");
    }
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", "the focus is seen");
    await page.keyboard.press("Enter");
    await page.getByText("More like", { exact: true }).waitFor();
    await answered(page);
  },

  async "no page is wider than a narrow screen"({ page, base }) {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const hash of ["#/search", "#/search?text=a+red+circle", "#/map", "#/figures", "#/api"]) {
      await go(page, base, hash);
      await page.locator("main h1").waitFor({ state: "attached" });
      await page.waitForTimeout(400);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= 360, `${hash} is ${wide} px wide`);
    }
  },
};
