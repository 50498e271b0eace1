// axe on every page, light and dark.
import assert from "node:assert/strict";
import axe from "axe-core";
import { answered, go } from "../browser.mjs";

export async function access({ page, base, server }) {
  const seen = ["#/search", "#/map", "#/figures", "#/api"];
  if (server.can("text")) seen.push("#/search?text=a+red+circle");
  const { ids } = await server.json(`/galleries/${encodeURIComponent(server.info.galleries[0].name)}/map`);
  seen.push(`#/search?id=${encodeURIComponent(ids[0])}&gallery=${encodeURIComponent(server.info.galleries[0].name)}`);
  const found = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const hash of seen) {
      await go(page, base, hash);
      await page.locator("main h1").waitFor({ state: "attached" });
      if (hash.includes("?")) await answered(page);
      await page.waitForTimeout(300);
      if (hash === "#/map") {
        await page.getByRole("application").focus();
        await page.keyboard.press("ArrowRight");
        await page.locator(".card").waitFor();
      }
      await page.evaluate(axe.source);
      const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      assert.ok(passes.length > 10, "axe looked");
      for (const { id, help, nodes } of violations) found.push(`${colorScheme} ${hash} ${id}: ${help} (${nodes.map((node) => node.html.slice(0, 160)).join(" | ")})`);
    }
  }
  assert.deepEqual(found, []);
}
