import { version } from "react";
import { version as domVersion } from "react-dom";
import { expect, test } from "vitest";

test("the React under test is the one that is meant", () => {
  expect([version, domVersion].map((each) => each.split(".")[0])).toEqual([
    import.meta.env.REACT_MAJOR,
    import.meta.env.REACT_MAJOR,
  ]);
});
