// What nearly every test stands on: a server, a proxy before its edge, an application's site, a browser.
import type { EdgesealOptions, Embedded, ErrorCode, Reading } from "@edgeseal/client";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";

import type { Seen, TestConfig } from "../pages/test-config.js";
import { launchChromium, newVisitor, uncaughtErrors } from "./browser.js";
import { EXPERIMENT, startEdgeseal } from "./edgeseal.js";
import type { Server } from "./edgeseal.js";
import { eventually } from "./eventually.js";
import { startProxy } from "./proxy.js";
import type { Proxy } from "./proxy.js";
import { startSite } from "./site.js";
import type { Site } from "./site.js";

const VERIFIED_WITHIN_MS = 10_000;

export interface World {
  server: Server;
  proxy: Proxy;
  site: Site;
  browser: Browser;
  /** A fresh browser for each test. */
  visitor(): Promise<BrowserContext>;
  /** Options of a client that asks through the proxy. */
  options(unit: string, more?: Partial<EdgesealOptions>): EdgesealOptions;
  /** What an application's server would embed in its page. */
  embedded(unit: string): Promise<Embedded & { status: string }>;
  /** Opens a page with a client in it; a test fails if anything in it is not caught. */
  open(context: BrowserContext, config: TestConfig, path?: string): Promise<ClientPage>;
}

/** Starts a world before the tests of a file and ends it after them. `clockOffsetS`: the server's, not the browser's. */
export function useWorld({ clockOffsetS }: { clockOffsetS?: number } = {}): World {
  const world = {} as World;
  let contexts: BrowserContext[] = [];
  let uncaught: string[][] = [];

  beforeAll(async () => {
    [world.server, world.site, world.browser] = await Promise.all([
      startEdgeseal(clockOffsetS === undefined ? {} : { clockOffsetS }),
      startSite(inject("pages")),
      launchChromium(),
    ]);
    world.proxy = await startProxy(world.server.url);
  });
  afterEach(async () => {
    const errors = uncaught.flat();
    for (const context of contexts) await context.close();
    contexts = [];
    uncaught = [];
    world.proxy?.reset();
    expect(errors, "errors that nobody caught").toEqual([]);
  });
  afterAll(async () => {
    await world.browser?.close();
    await Promise.all([world.proxy?.stop(), world.site?.stop(), world.server?.stop()]);
  });

  world.visitor = async () => {
    const context = await newVisitor(world.browser);
    contexts.push(context);
    return context;
  };
  world.options = (unit, more = {}) => ({
    environment: world.server.environment,
    rootKey: world.server.rootKey,
    unit,
    edgeUrl: world.proxy.url,
    ...more,
  });
  world.embedded = async (unit) => {
    const read = async (path: string) => (await fetch(world.server.url + path)).text();
    const [token, keyset, status] = await Promise.all([
      world.server.token(unit),
      read("/v1/keyset"),
      read("/v1/status"),
    ]);
    return { token, keyset, status };
  };
  world.open = async (context, config, path = "/client.html") => {
    const page = await context.newPage();
    uncaught.push(uncaughtErrors(page));
    await page.addInitScript(
      (config: unknown) => (window.testConfig = config as TestConfig),
      config as unknown,
    );
    await page.goto(world.site.url + path);
    await page.waitForFunction(() => window.edgeseal !== undefined);
    return new ClientPage(page);
  };
  return world;
}

/** A page with a client in it, see pages/client.ts. */
export class ClientPage {
  constructor(readonly page: Page) {}

  ready(): Promise<void> {
    return this.page.evaluate(() => window.edgeseal.ready);
  }

  reading(experiment = EXPERIMENT): Promise<Reading> {
    return this.page.evaluate((key) => window.edgeseal.get(key), experiment);
  }

  /** What a person could see on the page up to now, in order. */
  async shown(): Promise<string[]> {
    return (await this.seen()).shown;
  }

  async seen(): Promise<Seen> {
    return this.page.evaluate(() => window.seen);
  }

  /** What the client told of `name`. */
  async told(name: string): Promise<Record<string, unknown>[]> {
    return (await this.seen()).told.filter((event) => event.name === name).map((event) => event.detail);
  }

  async errorCodes(): Promise<ErrorCode[]> {
    return (await this.told("error")).map((detail) => detail["code"] as ErrorCode);
  }

  evaluate<T>(look: () => T | Promise<T>): Promise<T> {
    return this.page.evaluate(look);
  }

  call(method: "refresh" | "flush"): Promise<void> {
    return this.page.evaluate((method) => window.edgeseal[method](), method);
  }
}

/** Waits until the page's reading is `variant`, verified. */
export async function verifiedAs(client: ClientPage, variant: string): Promise<void> {
  await eventually(`${EXPERIMENT} is ${variant}, verified`, VERIFIED_WITHIN_MS, async () => {
    const reading = await client.reading();
    return reading.variant === variant && reading.isVerified;
  });
}
