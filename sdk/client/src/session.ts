import type { Status } from "./status.js";
import type { Store } from "./storage.js";
import type { DriftCause, DriftPolicy } from "./types.js";
import type { VerifiedToken } from "./verify.js";

/** A verified token as it was sent, and when it was verified. */
export interface Held {
  jws: string;
  at: number;
  token: Pick<VerifiedToken, "assignments"> & Partial<VerifiedToken>;
}

export type Session = [
  /** Reads back what this tab has seen as `tag`; `verify` checks a token as at that time. */
  restore: (tag: string, verify: (jws: string, at: number) => Promise<VerifiedToken>) => Promise<void>,
  /** Begins anew as `tag`; what is different then comes from that. */
  identify: (tag: string) => void,
  /** Tells what a token answers differently; takes that over, reloads the page, or keeps what was. */
  compare: (next: Held, how: "keep" | "take" | "replay", status: Status | undefined) => void,
  /** The token that an experiment is locked to instead of the variant `now`. */
  lock: (experiment: string, now: string | undefined) => Held | undefined,
  /** Whether this is said for the first time in the session. */
  once: (what: string) => boolean,
  hasDrifted: (experiment: string) => boolean,
];

const variantOf = (held: Held | undefined, experiment: string) =>
  held?.token.assignments.get(experiment)?.variant ?? null;

/**
 * Which variant each experiment had first in this tab's session. Only signed tokens are kept for that, never a bare
 * variant.
 */
export function createSession(
  store: Store,
  name: string,
  policy: DriftPolicy | undefined,
  drifted: (detail: {
    experiment: string;
    from: string | null;
    to: string | null;
    cause: DriftCause;
  }) => void,
): Session {
  /** By experiment; the last instead of the first where drift is accepted. */
  let first = new Map<string, Held>();
  /** As `first`, of the unit before this one. */
  let before: Map<string, Held> | undefined;
  /** `experiment>` and `experiment>variant` for what drifted, and whatever else is said once. */
  let told = new Set<string>();
  let key = name;

  const save = () =>
    store.set(key, [[...new Set(first.values())].map(({ jws, at }) => [jws, at]), [...told]]);
  const once = (what: string) => told.size !== told.add(what).size && (save(), true);

  return [
    async (tag, verify) => {
      key = name + tag;
      try {
        const [tokens, said] = store.get(key);
        told = new Set(said);
        for (const [jws, at] of tokens) {
          const held = { jws, at, token: await verify(jws, at) };
          for (const experiment of held.token.assignments.keys())
            if (!first.has(experiment)) first.set(experiment, held);
        }
      } catch {
        // A new session, or one that somebody wrote into.
      }
    },
    (tag) => {
      key = name + tag;
      before ??= first;
      first = new Map();
      told = new Set();
    },
    (next, how, status) => {
      const { assignments, refused, configVersion } = next.token;
      const old = how === "replay" ? undefined : before;
      const known = old ?? first;
      let reload = false;
      for (const experiment of new Set([...known.keys(), ...assignments.keys()])) {
        const refusal = refused?.get(experiment);
        if (refusal === "E_HALTED" || status?.off.has(experiment)) continue;
        const was = known.get(experiment);
        const from = variantOf(was, experiment);
        const to = refusal ? null : variantOf(next, experiment);
        let take = how !== "replay" && (old || !was);
        if (was && from !== to) {
          const reloads = policy === "reload" && how === "keep" && !old && !told.has(experiment + ">");
          take ||= how === "take" || reloads || (policy === "accept" && how === "keep");
          reload ||= reloads;
          if (once(experiment + ">" + to) || take)
            drifted({
              experiment,
              from,
              to,
              cause: old
                ? "identity_change"
                : refusal || how === "replay"
                  ? "rollback"
                  : configVersion! > was.token.configVersion!
                    ? "config_change"
                    : "unexplained",
            });
          told.add(experiment + ">");
        }
        if (take && to) first.set(experiment, next);
        else if (take) first.delete(experiment);
      }
      if (old) before = undefined;
      if (save() && reload) location.reload();
    },
    (experiment, now) => {
      const was = first.get(experiment);
      return was && variantOf(was, experiment) !== now ? was : undefined;
    },
    once,
    (experiment) => told.has(experiment + ">"),
  ];
}
