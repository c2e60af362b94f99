"use client";

import type { Edgeseal } from "@edgeseal/client";
import { createContext, createElement, useContext, type ReactElement, type ReactNode } from "react";

const Client = createContext<Edgeseal | null>(null);

/** Hands `client` to the hooks below it. Make the client once, outside of components. */
export function EdgesealProvider(props: { client: Edgeseal; children?: ReactNode }): ReactElement {
  return createElement(Client.Provider, { value: props.client }, props.children);
}

/** The client that the nearest {@link EdgesealProvider} was given: for `track`, `identify` and events. */
export function useEdgeseal(): Edgeseal {
  const client = useContext(Client);
  if (!client) throw new Error("no client: render this inside <EdgesealProvider client={…}>");
  return client;
}
