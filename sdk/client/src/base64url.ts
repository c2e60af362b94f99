export type Bytes = Uint8Array<ArrayBuffer>;

/** UTF-8. */
export const toBytes = (text: string): Bytes => new TextEncoder().encode(text);

export const encode = (bytes: Uint8Array): string => fromBinary(String.fromCharCode(...bytes));

/** The bytes of canonical, unpadded base64url (RFC 4648 5); throws for any other spelling. */
export function decode(text: string): Bytes {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  // `atob` takes padding, white space, stray bits and the other alphabet; what it read is written in one way only.
  if (fromBinary(binary) !== text) throw "base64url";
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

const fromBinary = (binary: string): string =>
  btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
