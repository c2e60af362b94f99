import { act, Suspense } from "react";
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { useSuspenseExperiment } from "../src/index.js";
import { fakeEdgeseal } from "./support/fake.js";
import { app, hydrate, render } from "./support/render.js";

function Price({ name }: { name: string }) {
  const { variant, reason } = useSuspenseExperiment(name);
  return <b>{variant ?? reason}</b>;
}

function Page() {
  return (
    <Suspense fallback="waiting">
      <Price name="one" />
      <Price name="two" />
    </Suspense>
  );
}

test("waits until every reading on it is there", async () => {
  const client = fakeEdgeseal();
  const page = await render(client, <Page />);
  expect(page.textContent).toBe("waiting");
  await act(async () => client.set("one", { variant: "a" }));
  expect(page.textContent).toBe("waiting");
  await act(async () => client.set("two", { variant: "b" }));
  expect(page.innerHTML).toBe("<b>a</b><b>b</b>");
  expect(new Set(client.exposures)).toEqual(new Set(["one", "two"]));
});

test("does not wait when readings are there", async () => {
  const client = fakeEdgeseal();
  client.set("one", { variant: "a" });
  client.set("two", { variant: "b" });
  expect(renderToString(app(client, <Page />))).not.toContain("waiting");
  const page = await render(client, <Page />);
  expect(page.textContent).toBe("ab");
});

test("shows the default when nothing could be had", async () => {
  const client = fakeEdgeseal();
  const page = await render(client, <Page />);
  const failed = {
    variant: null,
    isVerified: false,
    status: "error",
    reason: "error",
    error: "E_NETWORK",
  } as const;
  await act(async () => {
    client.set("one", failed);
    client.set("two", failed);
  });
  expect(page.textContent).toBe("errorerror");
});

test("waits with one subscription, however many components wait, and ends it", async () => {
  const client = fakeEdgeseal();
  await render(client, <Page />);
  expect(client.subscribers).toBe(1);
  await act(async () => {
    client.set("one", { variant: "a" });
    client.set("two", { variant: "b" });
  });
  expect(client.subscribers).toBe(2); // one for each component that is on the page now
});

test("does not hide what the server rendered", async () => {
  const client = fakeEdgeseal();
  client.hydrate("one", { variant: "a" });
  client.hydrate("two", { variant: "b" });
  const { container, complaints } = await hydrate("<!--$--><b>a</b><b>b</b><!--/$-->", client, <Page />);
  expect(container.textContent).toBe("ab");
  await act(async () => {
    client.set("one", { variant: "a" });
    client.set("two", { variant: "b" });
  });
  expect(container.textContent).toBe("ab");
  expect(complaints).toEqual([]);
});
