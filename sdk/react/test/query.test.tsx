import { QueryClient, QueryClientProvider, onlineManager, useQuery } from "@tanstack/react-query";
import type { Edgeseal } from "@edgeseal/client";
import { act } from "react";
import { afterEach, expect, test } from "vitest";
import { assignmentQueryKey, assignmentQueryOptions } from "../src/index.js";
import { fakeEdgeseal } from "./support/fake.js";
import { render } from "./support/render.js";

afterEach(() => onlineManager.setOnline(true));

function Query({ client }: { client: Edgeseal }) {
  const { data, isPending } = useQuery(assignmentQueryOptions(client, "checkout"));
  return <b>{isPending ? "pending" : (data?.variant ?? "default")}</b>;
}

/** An application as the recipe says. */
async function start(client: Edgeseal) {
  const queryClient = new QueryClient();
  client.subscribe(() => void queryClient.invalidateQueries({ queryKey: assignmentQueryKey }));
  const page = await render(
    client,
    <QueryClientProvider client={queryClient}>
      <Query client={client} />
    </QueryClientProvider>,
  );
  return { page, queryClient };
}

/** TanStack Query tells its observers in a later task. */
const settled = () => act(() => new Promise((resolve) => setTimeout(resolve, 5)));

test("is pending until the first token, then has the reading itself", async () => {
  const client = fakeEdgeseal();
  const { page, queryClient } = await start(client);
  expect(page.textContent).toBe("pending");
  await act(async () => client.set("checkout", { variant: "b" }));
  await settled();
  expect(page.textContent).toBe("b");
  expect(queryClient.getQueryData(assignmentQueryOptions(client, "checkout").queryKey)).toBe(
    client.get("checkout"),
  );
});

test("has what is verified already at the first render", async () => {
  const client = fakeEdgeseal();
  client.set("checkout", { variant: "b" });
  const { page } = await start(client);
  expect(page.textContent).toBe("b");
});

test("follows the client, offline as well", async () => {
  onlineManager.setOnline(false);
  const client = fakeEdgeseal();
  const { page } = await start(client);
  await act(async () => client.set("checkout", { variant: "b" }));
  await settled();
  expect(page.textContent).toBe("b");
  await act(async () => client.set("checkout", { variant: null, reason: "halted" }));
  await settled();
  expect(page.textContent).toBe("default");
});

test("its options say what useQuery will have", () => {
  const options = assignmentQueryOptions(fakeEdgeseal(), "checkout");
  expect(options.queryKey).toEqual(["edgeseal", "checkout"]);
});
