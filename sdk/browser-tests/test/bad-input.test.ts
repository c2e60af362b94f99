// What answers instead of an edge: each ends in a stable code and the default variant, and nothing is thrown.
import { describe, expect, test } from "vitest";

import type { ErrorCode } from "@edgeseal/client";
import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { badAnswers } from "../support/proxy.js";
import type { Asked } from "../support/proxy.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

const CODES: ErrorCode[] = [
  "E_MALFORMED",
  "E_TYPE",
  "E_KEY",
  "E_SIGNATURE",
  "E_EXPIRED",
  "E_NOT_YET",
  "E_AUDIENCE",
  "E_SUBJECT",
  "E_ROLLBACK",
  "E_HALTED",
  "E_NETWORK",
  "E_HTTP",
  "E_TOO_LARGE",
];

/** The one right code, where the cause is plain to see. */
const EXPECTED: Record<string, ErrorCode[]> = {
  "a body of 5 MB": ["E_TOO_LARGE"],
  "5 MB behind a good document": ["E_TOO_LARGE"],
  "an HTML error page in the right type": ["E_MALFORMED"],
  "half of a document": ["E_MALFORMED"],
  "an empty body": ["E_MALFORMED"],
  // Chromium hands over what it could unpack, without an error.
  "truncated gzip": ["E_MALFORMED"],
  "bytes that are no gzip": ["E_NETWORK"],
  "a connection that ends in the middle": ["E_NETWORK"],
  "a connection that ends at once": ["E_NETWORK"],
  "status 500": ["E_HTTP"],
  "status 404": ["E_HTTP"],
};

const kinds = Object.entries(badAnswers);
const isJwt = "application/jwt";
const about = (path: string) => (asked: Asked) => asked.url.pathname.startsWith(path);
const isToken = about("/v1/assignments/");

describe("instead of the token", () => {
  test.each(kinds)("%s", async (name, bad) => {
    const unit = await world.server.unitWith("treatment");
    const trick = bad(isJwt, await world.server.token(unit));
    let tricked = 0;
    world.proxy.misbehave((asked) => isToken(asked) && ++tricked > 0 && trick);
    const client = await world.open(await world.visitor(), {
      options: world.options(unit),
      experiment: EXPERIMENT,
    });
    await client.ready();

    const reading = await client.reading();
    expect(reading).toMatchObject({ variant: null, status: "error", reason: "error", isVerified: false });
    expect(EXPECTED[name] ?? CODES).toContain(reading.error);
    expect(await client.shown()).toEqual(["default"]);
    expect(tricked).toBeGreaterThan(0);

    world.proxy.misbehave(null);
    await client.call("refresh");
    await verifiedAs(client, "treatment");
    expect((await client.reading()).error).toBeNull();
  });
});

describe("instead of the keyset", () => {
  test.each(kinds)("%s", async (name, bad) => {
    const unit = await world.server.unitWith("treatment");
    const trick = bad(isJwt, (await world.embedded(unit)).keyset);
    let tricked = 0;
    world.proxy.misbehave((asked) => about("/v1/keyset")(asked) && ++tricked > 0 && trick);
    const client = await world.open(await world.visitor(), {
      options: world.options(unit),
      experiment: EXPERIMENT,
    });
    await client.ready();

    const reading = await client.reading();
    expect(reading).toMatchObject({ variant: null, status: "error", isVerified: false });
    expect([...(EXPECTED[name] ?? CODES), "E_KEY"]).toContain(reading.error);
    expect(EXPECTED[name] ?? CODES).toContain((await client.errorCodes())[0]);
    expect(await client.shown()).toEqual(["default"]);
    expect(tricked).toBeGreaterThan(0);

    world.proxy.misbehave(null);
    await client.call("refresh");
    await verifiedAs(client, "treatment");
  });
});

describe("instead of the status document", () => {
  test.each(kinds)("%s", async (_, bad) => {
    const unit = await world.server.unitWith("treatment");
    const trick = bad(isJwt, (await world.embedded(unit)).status);
    let tricked = 0;
    world.proxy.misbehave((asked) => about("/v1/status")(asked) && ++tricked > 0 && trick);
    const client = await world.open(await world.visitor(), {
      options: world.options(unit, { updates: "poll", pollIntervalMs: 200 }),
      experiment: EXPERIMENT,
    });
    await client.ready();
    await eventually("it was asked for", 5_000, () => tricked > 1);

    // No status says nothing of a halt: the token stays good, and the trouble has a code.
    await verifiedAs(client, "treatment");
    for (const code of await client.errorCodes()) expect(CODES).toContain(code);
    expect(await client.shown()).toEqual(["default", "treatment"]);
  });
});

describe("instead of the stream", () => {
  test.each(kinds)("%s", async (_, bad) => {
    const unit = await world.server.unitWith("treatment");
    const { status } = await world.embedded(unit);
    const trick = bad("text/event-stream", `event: status\ndata: ${status}\n\n`);
    let tricked = 0;
    world.proxy.misbehave((asked) => about("/v1/stream")(asked) && ++tricked > 0 && trick);
    const client = await world.open(await world.visitor(), {
      options: world.options(unit, { pollIntervalMs: 200 }),
      experiment: EXPERIMENT,
    });
    await client.ready();
    await eventually("it was asked for", 5_000, () => tricked > 0);
    await verifiedAs(client, "treatment");
    await client.page.waitForTimeout(200);
    expect(await client.shown()).toEqual(["default", "treatment"]);
  });

  test.each([
    ["an event that is no token", "event: status\ndata: hello\n\n"],
    ["an event of 5 MB", `event: status\ndata: ${"A".repeat(5_000_000)}\n\n`],
    ["a token instead of a status", "event: status\ndata: TOKEN\n\n"],
    ["an empty event", "event: status\ndata\n\n"],
    ["an event of another kind", "event: snapshot\ndata: TOKEN\n\n"],
  ])("%s", async (_, events) => {
    const unit = await world.server.unitWith("treatment");
    const body = events.replace("TOKEN", await world.server.token(unit));
    let tricked = 0;
    world.proxy.misbehave(
      (asked) =>
        about("/v1/stream")(asked) &&
        ++tricked > 0 && { answer: { headers: { "content-type": "text/event-stream" }, body } },
    );
    const client = await world.open(await world.visitor(), {
      options: world.options(unit),
      experiment: EXPERIMENT,
    });
    await client.ready();
    await eventually("it was asked for", 5_000, () => tricked > 0);
    await client.page.waitForTimeout(200);
    await verifiedAs(client, "treatment");
    for (const code of await client.errorCodes()) expect(CODES).toContain(code);
  });
});

describe("instead of the answer to events", () => {
  // A 2xx other than 202 does not say that the batch is durable.
  const retried = kinds.filter(([name]) => name !== "a redirect to nowhere");
  test.each(retried)("%s", async (_, bad) => {
    const unit = await world.server.unitWith("treatment");
    const trick = bad("application/json", "{}");
    let tricked = 0;
    world.proxy.misbehave(
      (asked) => about("/v1/events")(asked) && asked.method === "POST" && ++tricked > 0 && trick,
    );
    const client = await world.open(await world.visitor(), {
      options: world.options(unit),
      experiment: EXPERIMENT,
    });
    await client.ready();
    await verifiedAs(client, "treatment");
    await client.call("flush");
    expect(tricked).toBeGreaterThan(0);
    expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true });
    for (const code of await client.errorCodes()) expect(CODES).toContain(code);

    world.proxy.misbehave(null);
    await eventually("it is sent again", 20_000, async () => {
      await client.call("flush");
      return world.proxy.events.length > 0;
    });
    // Perhaps more than once, but it is one exposure: it has one id.
    expect(new Set(world.proxy.events.map((event) => event.id)).size).toBe(1);
  });
});

describe("options that make no sense", () => {
  test.each([
    ["an empty unit", { unit: "" }],
    ["a unit with control characters", { unit: "a\nb" }],
    ["a unit that is too long", { unit: "x".repeat(257) }],
    ["a root key that is none", { rootKey: "hello" }],
    ["an empty root key", { rootKey: "" }],
    ["an edge that is no URL", { edgeUrl: "http://[" }],
    ["an edge that is a path without an edge", { edgeUrl: "::::" }],
  ])("%s", async (_, more) => {
    const client = await world.open(await world.visitor(), {
      options: world.options("user-1", more),
      experiment: EXPERIMENT,
    });
    await client.ready();
    const reading = await client.reading();
    expect(reading).toMatchObject({ variant: null, status: "error", isVerified: false });
    expect(CODES).toContain(reading.error);
    expect((await client.told("error")).length).toBeGreaterThan(0);
  });
});
