import { expect, test } from "vitest";
import { parse } from "../src/json.js";

const read = (text: string) => parse(new TextEncoder().encode(text));

test("a document is given as it is, and with nothing but integers for numbers", () => {
  const { plain, exact } = read(' {"a":[1,-1,1.0,1e3,-0,0,2.5],"b":"1.5, -1"} ');
  expect(plain).toEqual({ a: [1, -1, 1, 1000, -0, 0, 2.5], b: "1.5, -1" });
  expect(exact).toEqual({ a: [1, null, null, null, null, 0, null], b: "1.5, -1" });
});

test("numbers inside strings and names are no numbers", () => {
  const text = '{"1.5":"-1","a\\"1e3":["\\\\",2]}';
  expect(read(text).exact).toEqual(JSON.parse(text));
});

test.each([
  '{"a":1,"a":1}',
  '{"a":1,"\\u0061":2}',
  '[{"x":{"a":1,"b":2,"a" :3}}]',
  '{"__proto__":1,"__proto__":2}',
  '"\\ud800"',
  '["\\udc00\\ud800"]',
  '{"\\ud800":1}',
  "[1e400]",
  "[" + "1".repeat(400) + "]",
  "\ufeff{}",
  "{} {}",
  "",
])("%s is refused", (text) => {
  expect(() => read(text)).toThrow();
});

test("names may be repeated in other objects, and strings in lists", () => {
  for (const text of [
    '{"a":{"a":1},"b":{"a":["a","a"]}}',
    '[{"a":1},{"a":2}]',
    '{"constructor":{"toString":1}}',
  ])
    expect(read(text).plain).toEqual(JSON.parse(text));
  expect(Object.keys(read('{"__proto__":1}').plain)).toEqual(["__proto__"]);
});

test("64 levels, and no more", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  expect(() => read(nested(64))).not.toThrow();
  expect(() => read(nested(65))).toThrow();
  expect(() => read("[".repeat(100_000))).toThrow();
});

test("whole characters only: a pair of escapes is one", () => {
  expect(read('"\\ud83d\\ude00"').plain).toBe("😀");
  expect(read('"\\\\ud800"').plain).toBe("\\ud800");
});

test("bytes that are not UTF-8 are refused", () => {
  for (const bytes of [
    [0x22, 0xff, 0x22],
    [0x22, 0xc0, 0x80, 0x22],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
  ])
    expect(() => parse(new Uint8Array(bytes))).toThrow();
});
