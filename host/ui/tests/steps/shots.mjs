// Pictures of the page, to look at.
import { answered, drop, go } from "../browser.mjs";

export async function shots({ page, base, server, expect }, folder) {
  const shot = (name, full = false) => page.screenshot({ path: `${folder}/ui-${name}.png`, fullPage: full });
  const wait = () => page.waitForTimeout(500);
  const gallery = server.gallery("image") ?? server.info.galleries[0];
  const map = `#/map?gallery=${encodeURIComponent(gallery.name)}&color=${encodeURIComponent(gallery.columns.find((column) => column === "kind") ?? "")}`;
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await go(page, base, "");
    await page.getByRole("rowheader").first().waitFor();
    await shot(`empty-${colorScheme}`);
    await go(page, base, "#/search?text=a+red+circle&k=6");
    await answered(page);
    await wait();
    await shot(`search-${colorScheme}`, true);
    await go(page, base, map);
    await page.getByRole("application").focus();
    await page.keyboard.press("ArrowRight");
    await wait();
    await shot(`map-${colorScheme}`);
    await go(page, base, "#/figures");
    await wait();
    await shot(`figures-${colorScheme}`, true);
    await go(page, base, "#/api");
    await wait();
    await shot(`api-${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  const many = server.info.galleries.find(({ items }) => items >= 100_000);
  if (many) {
    await go(page, base, `#/map?gallery=${many.name}&color=cluster`);
    await page.waitForTimeout(1500);
    await shot("map-many");
    await page.getByLabel("Colour", { exact: true }).selectOption("height");
    await page.waitForTimeout(1500);
    await shot("map-ramp");
  }
  if (server.can("image") && server.gallery("image")) {
    const { base64, type } = await server.item("image");
    await go(page, base, "#/search?k=4");
    await page.getByRole("search").waitFor();
    await drop(page, "my picture.png", type, base64);
    await answered(page);
    await wait();
    await shot("picture");
  }
  await go(page, base, "#/search?text=red+ring&where=nosuch+%3C");
  await wait();
  await shot("error");
  expect(/status of 400/);
  await page.setViewportSize({ width: 360, height: 740 });
  for (const [name, hash] of [["empty", ""], ["search", "#/search?text=a+red+circle&k=4"], ["map", map], ["figures", "#/figures"], ["api", "#/api"]]) {
    await go(page, base, hash);
    await page.waitForTimeout(700);
    await shot(`360-${name}`, name === "search");
  }
}
