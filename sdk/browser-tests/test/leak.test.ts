// A shared cache that mixes up its entries: what is never shown, and how the client gets its own answer after all.
import { expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import type { Asked } from "../support/proxy.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

/** Two units whose variants differ: what a leak would show. */
async function anotherAndMine() {
  const another = await world.server.unitWith("control", EXPERIMENT, "another-");
  const mine = await world.server.unitWith("treatment", EXPERIMENT, "mine-");
  return { another, mine };
}

const isFor = (asked: Asked, unit: string) => asked.url.pathname === `/v1/assignments/${unit}`;

test("a body of another unit is never shown; it is reported once and asked for again past the cache", async () => {
  const { another, mine } = await anotherAndMine();
  let leaked = 0;
  world.proxy.misbehave((asked) => {
    // A cache keeps what it has for this URL; another URL goes through to the edge.
    const keyed = asked.path === world.proxy.asked.find((first) => isFor(first, mine))?.path;
    if (!isFor(asked, mine) || !keyed) return null;
    leaked++;
    return { path: `/v1/assignments/${another}` };
  });

  const client = await world.open(await world.visitor(), {
    options: world.options(mine),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await eventually(
    "my own variant is shown",
    5_000,
    async () => (await client.shown()).at(-1) === "treatment",
  );

  expect(leaked).toBe(1);
  expect(await client.shown()).toEqual(["default", "treatment"]);
  expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true, error: null });
  expect(await client.told("leak")).toMatchObject([{ source: "network" }]);

  await client.call("flush");
  const reports = world.proxy.events.filter((event) => event.type === "leak");
  expect(reports).toHaveLength(1);
  const { sub, kid } = await tagAndKeyOf(another);
  expect(reports[0]).toMatchObject({ subject: sub, keyId: kid, source: "network" });
});

test("a cache that answers everything with another unit's token: the default, an error, and no flood of requests", async () => {
  const { another, mine } = await anotherAndMine();
  world.proxy.misbehave((asked) => isFor(asked, mine) && { path: `/v1/assignments/${another}` });

  const client = await world.open(await world.visitor(), {
    options: world.options(mine),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await client.page.waitForTimeout(1_500);

  expect(await client.shown()).toEqual(["default"]);
  expect(await client.reading()).toMatchObject({ variant: null, status: "error", error: "E_SUBJECT" });
  expect(world.proxy.requests("/v1/assignments/").length).toBeLessThanOrEqual(4);

  world.proxy.misbehave(null);
  await client.call("refresh");
  await verifiedAs(client, "treatment");
});

test("a page cached with another visitor's token in it never shows that visitor's variant", async () => {
  const { another, mine } = await anotherAndMine();
  const options = world.options(mine, { initial: await world.embedded(another) });

  const client = await world.open(await world.visitor(), { options, experiment: EXPERIMENT });
  await client.ready();
  await eventually(
    "my own variant is shown",
    5_000,
    async () => (await client.shown()).at(-1) === "treatment",
  );

  expect(await client.shown()).toEqual(["default", "treatment"]);
  expect(await client.told("leak")).toMatchObject([{ source: "embedded" }]);
});

async function tagAndKeyOf(unit: string): Promise<{ sub: string; kid: string }> {
  const [header, claims] = (await world.server.token(unit)).split(".");
  const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
  return { sub: read(claims!).sub as string, kid: read(header!).kid as string };
}
