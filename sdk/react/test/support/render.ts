import type { Edgeseal } from "@edgeseal/client";
import { act, createElement, StrictMode, type ReactNode } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { afterEach } from "vitest";
import { EdgesealProvider } from "../../src/index.js";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

const roots: Root[] = [];

afterEach(async () => {
  await act(async () => roots.splice(0).forEach((root) => root.unmount()));
  document.body.replaceChildren();
});

/** Renders `child` below a provider, as an application starts; returns the element it is rendered into. */
export async function render(client: Edgeseal, child: ReactNode): Promise<HTMLElement> {
  const container = document.body.appendChild(document.createElement("main"));
  await act(async () => {
    const root = createRoot(container);
    roots.push(root);
    root.render(app(client, child));
  });
  return container;
}

/** Hydrates `html` with `child`; returns the element, and what React had to say about it. */
export async function hydrate(html: string, client: Edgeseal, child: ReactNode) {
  const container = document.body.appendChild(document.createElement("main"));
  container.innerHTML = html;
  const complaints: string[] = [];
  await act(async () => {
    const onRecoverableError = (error: unknown) => complaints.push(String(error));
    roots.push(hydrateRoot(container, app(client, child), { onRecoverableError }));
  });
  return { container, complaints };
}

export function app(client: Edgeseal, child: ReactNode): ReactNode {
  return createElement(StrictMode, null, createElement(EdgesealProvider, { client }, child));
}
