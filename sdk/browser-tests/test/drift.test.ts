// The edge answers differently than earlier in the session: what is shown, and what the client says about it.
import { beforeAll, describe, expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld } from "../support/world.js";

describe("after a change of the shares", () => {
  const world = useWorld();

  // All units have one variant, and then the other.
  let [from, to] = ["control", "treatment"];

  beforeAll(() => world.server.setWeights(EXPERIMENT, { [from]: 100, [to]: 0 }));

  /** A page that shows `from`, and a configuration that has just become `to`. */
  async function openAndMove(drift: "lock" | "accept" | "reload", unit: string) {
    const client = await world.open(await world.visitor(), {
      options: world.options(unit, { drift }),
      experiment: EXPERIMENT,
    });
    await client.ready();
    expect(await client.reading()).toMatchObject({ variant: from, isVerified: true, driftDetected: false });
    await world.server.setWeights(EXPERIMENT, { [from]: 0, [to]: 100 });
    const moved = { client, from, to };
    [from, to] = [to, from];
    return moved;
  }

  test("policy lock keeps the variant that was shown, and says config_change", async () => {
    const { client, from, to } = await openAndMove("lock", "user-1");
    await client.call("refresh");
    await eventually("drift is told", 5_000, async () => (await client.told("drift")).length > 0);

    expect(await client.shown()).toEqual(["default", from]);
    expect(await client.reading()).toMatchObject({
      variant: from,
      driftDetected: true,
      reason: "locked",
    });
    const drift = { experiment: EXPERIMENT, from, to, cause: "config_change" };
    expect(await client.told("drift")).toEqual([drift]);

    await client.call("refresh");
    await client.call("flush");
    expect(world.proxy.events.filter((event) => event.type === "drift")).toMatchObject([drift]);

    // The session goes on over a reload, the lock with it.
    await client.page.reload();
    await client.ready();
    expect(await client.reading()).toMatchObject({ variant: from, reason: "locked" });
    expect(await client.shown()).not.toContain(to);
  });

  test("policy accept shows the new variant", async () => {
    const { client, to } = await openAndMove("accept", "user-2");
    await client.call("refresh");
    await eventually("the new variant is shown", 5_000, async () => (await client.shown()).includes(to));
    expect(await client.reading()).toMatchObject({
      variant: to,
      driftDetected: true,
      isVerified: true,
    });
    expect(await client.told("drift")).toMatchObject([{ cause: "config_change" }]);
  });

  test("policy reload loads the page anew, once", async () => {
    const { client, from, to } = await openAndMove("reload", "user-3");
    let loads = 0;
    client.page.on("load", () => loads++);
    await client.call("refresh").catch(() => undefined); // the page may go away under it
    await eventually("the page was loaded anew", 5_000, () => loads > 0);
    await client.page.waitForFunction(() => window.edgeseal !== undefined);
    await client.ready();
    await eventually("the new variant is shown", 5_000, async () => (await client.shown()).includes(to));
    await client.call("refresh");
    await client.page.waitForTimeout(500);
    expect(loads).toBe(1);
    expect(await client.shown()).not.toContain(from);
  });
});

describe("without a change of the configuration", () => {
  const world = useWorld();

  test("a login is labelled identity_change, and shows the new unit's variant", async () => {
    const anonymous = await world.server.unitWith("control", EXPERIMENT, "device-");
    const person = await world.server.unitWith("treatment", EXPERIMENT, "person-");
    const client = await world.open(await world.visitor(), {
      options: world.options(anonymous, { drift: "accept" }),
      experiment: EXPERIMENT,
    });
    await client.ready();
    await client.page.evaluate((unit) => window.edgeseal.identify(unit), person);

    const told = await client.told("drift");
    expect(new Set(told.map((drift) => drift["cause"]))).toEqual(new Set(["identity_change"]));
    expect(told).toContainEqual({
      experiment: EXPERIMENT,
      from: "control",
      to: "treatment",
      cause: "identity_change",
    });
    expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true });
    // Whoever is there now never sees what the other one had: the default until the edge has answered.
    expect(await client.shown()).toEqual(["default", "control", "default", "treatment"]);
  });

  test("a cache that forgets the query: unexplained, and locked", async () => {
    const key = "pricing-page";
    const attributes = { country: "DE", plan: "free" };
    const unit = await unitInPricing();
    const client = await world.open(await world.visitor(), {
      options: world.options(unit, { attributes }),
      experiment: key,
    });
    await client.ready();
    const { variant } = await client.reading(key);
    expect(variant).not.toBeNull();

    world.proxy.misbehave(
      (asked) => asked.url.pathname.startsWith("/v1/assignments/") && { path: asked.url.pathname },
    );
    await client.call("refresh");
    expect(await client.told("drift")).toMatchObject([
      { experiment: key, from: variant, to: null, cause: "unexplained" },
    ]);
    expect(await client.reading(key)).toMatchObject({ variant, reason: "locked", driftDetected: true });
    expect(await client.shown()).toEqual(["default", variant]);

    async function unitInPricing(): Promise<string> {
      for (let number = 1; ; number++) {
        const asked = Buffer.from(JSON.stringify(attributes)).toString("base64url");
        const token = await (
          await fetch(`${world.server.url}/v1/assignments/shopper-${number}?attrs=${asked}`)
        ).text();
        if (Buffer.from(token.split(".")[1]!, "base64url").toString().includes(`"${key}"`))
          return `shopper-${number}`;
      }
    }
  });

  test("a cache that goes back in time is refused: the newer variant stays", async () => {
    await world.server.setWeights(EXPERIMENT, { control: 50, treatment: 50 });
    const unit = await world.server.unitWith("control", EXPERIMENT, "traveller-");
    const old = await world.server.token(unit);
    await world.server.setWeights(EXPERIMENT, { control: 1, treatment: 99 });

    const client = await world.open(await world.visitor(), {
      options: world.options(unit),
      experiment: EXPERIMENT,
    });
    await client.ready();
    expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true });

    world.proxy.misbehave(
      (asked) =>
        asked.url.pathname.startsWith("/v1/assignments/") && {
          answer: { headers: { "content-type": "application/jwt" }, body: old },
        },
    );
    await client.call("refresh");
    expect(await client.shown()).toEqual(["default", "treatment"]);
    expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true });
    expect(await client.errorCodes()).toContain("E_ROLLBACK");
  });
});
