import { act, useState } from "react";
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { EdgesealProvider, useEdgeseal, useExperiment } from "../src/index.js";
import { fakeEdgeseal } from "./support/fake.js";
import { app, hydrate, render } from "./support/render.js";

function Button({ expose }: { expose?: boolean }) {
  const { variant, reason } = useExperiment("checkout", expose === undefined ? {} : { expose });
  renders.push(variant);
  return <button title={reason}>{variant ?? "default"}</button>;
}

/** Each variant that {@link Button} rendered, in order. */
let renders: (string | null)[] = [];

test("shows the default until something is verified, then the variant", async () => {
  const client = fakeEdgeseal();
  const page = await render(client, <Button />);
  expect(page.textContent).toBe("default");
  await act(async () => client.set("checkout", { variant: "b" }));
  expect(page.textContent).toBe("b");
});

test("follows a halt back to the default", async () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  const page = await render(client, <Button />);
  await act(async () => client.set("checkout", { variant: null, reason: "halted" }));
  expect(page.innerHTML).toBe('<button title="halted">default</button>');
});

test("renders again only when its own reading changes", async () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  await render(client, <Button />);
  renders = [];
  await act(async () => client.set("search", { variant: "x" }));
  expect(renders).toEqual([]);
});

test("reads another experiment when its key changes", async () => {
  const client = fakeEdgeseal();
  client.set("one", { variant: "a" });
  client.set("two", { variant: "b" });
  function Switch() {
    const [key, setKey] = useState("one");
    return <button onClick={() => setKey("two")}>{useExperiment(key).variant}</button>;
  }
  const page = await render(client, <Switch />);
  await act(async () => page.querySelector("button")?.click());
  expect(page.textContent).toBe("b");
  expect(client.exposures.at(-1)).toBe("two");
});

test("stops listening when it leaves the page", async () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  function Parent() {
    const [shown, setShown] = useState(true);
    return <main onClick={() => setShown(false)}>{shown && <Button />}</main>;
  }
  const page = await render(client, <Parent />);
  expect(client.subscribers).toBe(1);
  await act(async () => page.querySelector("main")?.click());
  expect(client.subscribers).toBe(0);
});

test("outside a provider it says what is missing", () => {
  expect(() => renderToString(<Button />)).toThrow(
    "no client: render this inside <EdgesealProvider client={…}>",
  );
});

test("useEdgeseal gives the client of the nearest provider", async () => {
  const [outer, inner] = [fakeEdgeseal(), fakeEdgeseal()];
  let seen: unknown;
  const Look = () => ((seen = useEdgeseal()), null);
  await render(
    outer,
    <EdgesealProvider client={inner}>
      <Look />
    </EdgesealProvider>,
  );
  expect(seen).toBe(inner);
});

test("exposure: told when a verified variant is on the screen", async () => {
  const client = fakeEdgeseal();
  await render(client, <Button />);
  expect(client.exposures).toEqual([]);
  await act(async () => client.set("checkout", { variant: "b" }));
  expect(new Set(client.exposures)).toEqual(new Set(["checkout"]));
});

test.each([
  ["there is no variant", { variant: null }],
  ["the variant is not verified", { variant: "b", isVerified: false }],
])("exposure: not told when %s", async (_, reading) => {
  const client = fakeEdgeseal();
  client.set("checkout", reading);
  await render(client, <Button />);
  expect(client.exposures).toEqual([]);
});

test("exposure: not told with expose: false", async () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  await render(client, <Button expose={false} />);
  expect(client.exposures).toEqual([]);
});

test("exposure: told again for another unit with the same variant", async () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  await render(client, <Button />);
  const before = client.exposures.length;
  await act(async () => client.set("checkout", { variant: "b" }));
  expect(client.exposures.length).toBe(before + 1);
});

test("exposure: not told by a render on the server", () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  expect(renderToString(app(client, <Button />))).toBe('<button title="split">b</button>');
  expect(client.exposures).toEqual([]);
});

test("hydration: the first render is the server's, and verification changes nothing on the screen", async () => {
  const client = fakeEdgeseal();
  client.hydrate("checkout", { variant: "b" });
  renders = [];
  const { container, complaints } = await hydrate('<button title="split">b</button>', client, <Button />);
  const button = container.querySelector("button")!;
  expect(button.title).toBe("split");
  expect(client.exposures).toEqual([]);
  const { length } = renders;

  await act(async () => client.set("checkout", { variant: "b" }));
  expect(renders).toHaveLength(length);
  expect(button.title).toBe("split");
  expect(new Set(renders)).toEqual(new Set(["b"]));
  expect(container.querySelector("button")).toBe(button);
  expect(complaints).toEqual([]);
  expect(client.exposures).toContain("checkout");
});

test("hydration: what does not verify falls back to the default and is never counted", async () => {
  const client = fakeEdgeseal();
  client.hydrate("checkout", { variant: "b" });
  const { container } = await hydrate('<button title="split">b</button>', client, <Button />);
  await act(async () =>
    client.set("checkout", {
      variant: null,
      isVerified: false,
      status: "error",
      reason: "error",
      error: "E_SIGNATURE",
    }),
  );
  expect(container.textContent).toBe("default");
  expect(client.exposures).toEqual([]);
});

test("hydration: a variant that was verified before React came is the first that it renders", async () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  renders = [];
  const { complaints } = await hydrate('<button title="split">b</button>', client, <Button />);
  expect(new Set(renders)).toEqual(new Set(["b"]));
  expect(complaints).toEqual([]);
});
