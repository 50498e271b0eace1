// The map: hover, click, keyboard, zoom.
import assert from "node:assert/strict";
import { answered, go } from "../browser.mjs";

const ready = async (page) => {
  await page.getByRole("application").waitFor();
  await page.waitForFunction(() => {
    const canvas = document.querySelector("canvas");
    return canvas?.width > 300 && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value);
  });
};

/** Where some point lies, in CSS pixels of the page: a pixel of full colour. */
const somePoint = (page) => page.evaluate(() => {
  const canvas = document.querySelector("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const box = canvas.getBoundingClientRect();
  const ratio = canvas.width / box.width;
  for (let y = 60; y < canvas.height - 60; y++) {
    for (let x = 60; x < canvas.width - 120; x++) {
      if (data[4 * (y * canvas.width + x) + 3] === 255) return [box.left + x / ratio, box.top + y / ratio + 1];
    }
  }
});
const picture = (page) => page.evaluate(() => document.querySelector("canvas").toDataURL());

export const maps = {
  async "a click on the map"({ page, base, server }) {
    const { name } = server.info.galleries[0];
    await go(page, base, `#/map?gallery=${encodeURIComponent(name)}`);
    await ready(page);
    const [x, y] = await somePoint(page);
    await page.mouse.move(x, y);
    await page.locator(".card").waitFor();
    await page.mouse.click(x, y);
    await page.getByText("More like", { exact: true }).waitFor();
    await answered(page);
    await page.goBack();
    await ready(page);
  },

  async "the map by keyboard"({ page, base, server }) {
    const { name } = server.info.galleries.at(-1);
    await go(page, base, `#/map?gallery=${encodeURIComponent(name)}`);
    await ready(page);
    await page.getByRole("application").focus();
    await page.keyboard.press("ArrowRight");
    const label = page.locator(".card .label");
    await label.waitFor();
    const seen = new Set([await page.locator(".ring circle").first().evaluate((circle) => circle.outerHTML)]);
    for (const key of ["ArrowUp", "ArrowLeft", "ArrowDown", "ArrowRight"]) {
      await page.keyboard.press(key);
      seen.add(await page.locator(".ring circle").first().evaluate((circle) => circle.outerHTML));
    }
    assert.ok(seen.size > 1, "arrows go from point to point");
    const before = await picture(page);
    await page.keyboard.press("+");
    await page.waitForTimeout(100);
    assert.notEqual(await picture(page), before, "+ zooms");
    await page.keyboard.press("0");
    await page.keyboard.press("Enter");
    await page.getByText("More like", { exact: true }).waitFor();
    await answered(page);
  },

  async "wheel, drag and colours"({ page, base, server }) {
    const gallery = server.info.galleries.find((one) => one.columns.length) ?? server.info.galleries[0];
    await go(page, base, `#/map?gallery=${encodeURIComponent(gallery.name)}`);
    await ready(page);
    const pictures = [await picture(page)];
    const box = await page.getByRole("application").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.wheel(0, -400);
    await page.waitForTimeout(100);
    pictures.push(await picture(page));
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 2 + 80, box.y + box.height / 2 + 40, { steps: 4 });
    await page.mouse.up();
    await page.waitForTimeout(100);
    pictures.push(await picture(page));
    assert.equal(new Set(pictures).size, 3);
    assert.match(page.url(), /#\/map/, "a drag is no click");
    for (const column of gallery.columns) {
      await page.getByLabel("Colour", { exact: true }).selectOption(column);
      await page.getByRole("group", { name: `Colours: ${column}` }).waitFor();
    }
  },

  async "tap and pinch"({ page, base, server }) {
    const { name } = server.info.galleries[0];
    await go(page, base, `#/map?gallery=${encodeURIComponent(name)}`);
    await ready(page);
    const client = await page.context().newCDPSession(page);
    const touch = (type, ...places) => client.send("Input.dispatchTouchEvent", { type, touchPoints: places.map(([x, y], id) => ({ x, y, id })) });
    const box = await page.getByRole("application").boundingBox();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const before = await picture(page);
    await touch("touchStart", [x - 30, y], [x + 30, y]);
    for (let far = 30; far <= 90; far += 20) await touch("touchMove", [x - far, y], [x + far, y]);
    await touch("touchEnd");
    await page.waitForTimeout(100);
    assert.notEqual(await picture(page), before, "a pinch zooms");
    await page.getByRole("button", { name: "Show all points" }).click();
    await page.waitForTimeout(100);
    const point = await somePoint(page);
    await touch("touchStart", point);
    await touch("touchEnd");
    await page.locator(".card").waitFor();
    assert.match(page.url(), /#\/map/, "the first tap shows the item");
    await page.locator(".card").getByRole("link", { name: "More like this" }).click();
    await answered(page);
  },

  async "100,000 points stay smooth"({ page, base, server }) {
    const many = server.info.galleries.find((gallery) => gallery.items >= 100_000);
    if (!many) return "no gallery so large";
    await go(page, base, `#/map?gallery=${encodeURIComponent(many.name)}`);
    await ready(page);
    const times = await page.evaluate(async () => {
      const plane = document.querySelector("[role=application]");
      const box = plane.getBoundingClientRect();
      const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      const times = [];
      for (let i = 0; i < 40; i++) {
        const begun = performance.now();
        plane.dispatchEvent(new WheelEvent("wheel", { deltaY: i % 20 < 10 ? -60 : 60, clientX: box.left + 500, clientY: box.top + 250, cancelable: true }));
        await frame();
        await frame();
        times.push(performance.now() - begun);
      }
      return times.sort((a, b) => a - b);
    });
    // Two frames a step: 33 ms where each is drawn in time.
    return `median ${(times[20] / 2).toFixed(1)} ms a frame, 95 % ${(times[37] / 2).toFixed(1)} ms`;
  },
};
