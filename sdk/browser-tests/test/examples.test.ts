// The examples, started as their README says and used as a visitor would.
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { freePort } from "../support/ports.js";
import { startProgram } from "../support/program.js";
import type { Program } from "../support/program.js";
import { useWorld } from "../support/world.js";

const world = useWorld();

const checkout = (variant: string) => `#checkout[data-variant="${variant}"]`;

describe.each(["plain-html", "vite-react", "express-ssr"])("%s", (name) => {
  let program: Program;
  let url: string;

  beforeAll(async () => {
    const port = await freePort();
    url = `http://localhost:${port}`;
    program = await startProgram(`npm start --workspace example-${name}`, {
      url,
      env: {
        EDGESEAL_URL: world.proxy.url,
        EDGESEAL_ENVIRONMENT: world.server.environment,
        EDGESEAL_ROOT_KEY: world.server.rootKey,
        PORT: String(port),
      },
    });
  }, 90_000);
  afterAll(() => program?.stop());

  test("shows each unit its variant, counts, and falls back on a pause", async () => {
    const visitor = await world.visitor();
    const page = await visitor.newPage();
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(String(error)));

    for (const variant of ["control", "treatment"]) {
      const unit = await world.server.unitWith(variant, EXPERIMENT, `${name}-`);
      await page.goto(`${url}/?unit=${unit}`);
      await page.waitForSelector(checkout(variant));
    }
    expect(await page.textContent("#checkout")).toBe("Buy now");

    await page.click("#checkout");
    await eventually("the stream is open", 10_000, () => world.proxy.openStreams > 0);
    await world.server.pause(EXPERIMENT);
    await page.waitForSelector(checkout(""));
    expect(await page.textContent("#checkout")).toBe("Continue");
    await world.server.resume(EXPERIMENT);
    await page.waitForSelector(checkout("treatment"));

    await page.goto("about:blank");
    const arrived = (type: string) =>
      new Set(world.proxy.events.filter((event) => event.type === type).map((event) => event.id)).size;
    await eventually(
      "both exposures and the purchase arrive",
      10_000,
      () => arrived("exposure") >= 2 && arrived("metric") === 1,
    );
    expect(problems).toEqual([]);
  });
});

test("express-ssr sends the variant in its HTML, and the page does not move", async () => {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const program = await startProgram("node server.js", {
    folder: new URL("../../../examples/express-ssr", import.meta.url).pathname,
    url,
    env: {
      EDGESEAL_URL: world.proxy.url,
      EDGESEAL_ENVIRONMENT: world.server.environment,
      EDGESEAL_ROOT_KEY: world.server.rootKey,
      PORT: String(port),
    },
  });
  try {
    const unit = await world.server.unitWith("treatment");
    const html = await (await fetch(`${url}/?unit=${unit}`)).text();
    expect(html).toContain('data-variant="treatment"');
    expect(html).toContain("Buy now");

    const visitor = await world.visitor();
    await visitor.addInitScript(() => {
      const watched = { shift: 0 };
      Object.assign(window, { watched });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries())
          watched.shift += (entry as PerformanceEntry & { value: number }).value;
      }).observe({ type: "layout-shift", buffered: true });
    });
    const page = await visitor.newPage();
    await page.goto(`${url}/?unit=${unit}`);
    await page.waitForSelector(checkout("treatment"));
    await page.waitForTimeout(500);
    expect(
      await page.evaluate(() => (window as unknown as { watched: { shift: number } }).watched.shift),
    ).toBe(0);
  } finally {
    await program.stop();
  }
});
