/** Deepest nesting of a signed document, as the edge writes and reads it. */
const MAX_DEPTH = 64;

/** The tokens of valid JSON that need a look: strings (with the colon that makes them names), brackets, numbers. */
const TOKENS = /("(?:[^"\\]+|\\.)*")(\s*:)?|[[\]{}]|-?\d[^\s,\]}]*/g;

/**
 * Reads JSON in which no two readers can see different things, the language of `crates/core/src/json.rs`; throws for
 * anything else: a name twice in one object, a lone surrogate, a number beyond a float, deep nesting, a byte order
 * mark, bytes that are not UTF-8.
 *
 * Gives the document twice: `exact` has null for every number that is not written as a non-negative integer, such as
 * `1.0`, `1e3`, `-0`.
 */
export function parse(bytes: Uint8Array): { exact: any; plain: any } {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  const plain = JSON.parse(text);
  const open: Set<string>[] = [];
  const isTaken = (name: string, names = open.at(-1)!): boolean => names.size === names.add(name).size;
  const exact = text.replace(TOKENS, (token, literal?: string, colon?: string) => {
    const string = literal && JSON.parse(literal);
    if (
      literal
        ? /\p{Cs}/u.test(string) || (colon && isTaken(string))
        : token < "A"
          ? !isFinite(token as never)
          : /[[{]/.test(token)
            ? open.push(new Set()) > MAX_DEPTH
            : !open.pop()
    )
      throw token;
    return /^-|^\d+\D/.test(token) ? "null" : token;
  });
  return { exact: exact === text ? plain : JSON.parse(exact), plain };
}
