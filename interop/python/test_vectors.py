"""The vectors as a second implementation sees them: docs/protocol.md written out again, sharing no code with core."""

import base64
import hashlib
import json
from pathlib import Path

VECTORS = Path(__file__).parents[2] / "vectors"
MASK = (1 << 64) - 1


def siphash_2_4(key: bytes, message: bytes) -> int:
    """SipHash-2-4 as in Aumasson and Bernstein, section 2."""

    def rotate(word, by):
        return ((word << by) | (word >> (64 - by))) & MASK

    k0, k1 = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    v0, v1, v2, v3 = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )

    def rounds(count):
        nonlocal v0, v1, v2, v3
        for _ in range(count):
            v0 = (v0 + v1) & MASK
            v1 = rotate(v1, 13) ^ v0
            v0 = rotate(v0, 32)
            v2 = (v2 + v3) & MASK
            v3 = rotate(v3, 16) ^ v2
            v0 = (v0 + v3) & MASK
            v3 = rotate(v3, 21) ^ v0
            v2 = (v2 + v1) & MASK
            v1 = rotate(v1, 17) ^ v2
            v2 = rotate(v2, 32)

    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v3 ^= word
        rounds(2)
        v0 ^= word
    v2 ^= 0xFF
    rounds(4)
    return v0 ^ v1 ^ v2 ^ v3


def test_siphash_reference():
    assert siphash_2_4(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


def test_every_bucket():
    count = 0
    for key in json.loads((VECTORS / "bucketing.json").read_text())["keys"]:
        parts = ["edgeseal/bucket/1", key["purpose"], key["owner"], key["salt"]]
        hash_key = hashlib.sha256(b"\0".join(part.encode() for part in parts)).digest()[:16]
        for unit, bucket in key["buckets"].items():
            assert (siphash_2_4(hash_key, unit.encode()) * 1_000_000) >> 64 == bucket, unit
            count += 1
    assert count >= 10_000


def test_variants_follow_from_the_snapshot_alone():
    """Ranges and buckets give the variant of every unit that was split."""
    count = 0
    for scenario in json.loads((VECTORS / "evaluation.json").read_text())["scenarios"]:
        for experiment in scenario["snapshot"]["experiments"]:
            parts = ["edgeseal/bucket/1", "variant", experiment["key"], experiment["salt"]]
            hash_key = hashlib.sha256(b"\0".join(part.encode() for part in parts)).digest()[:16]
            for case in scenario["cases"]:
                expected = case["expected"][experiment["key"]]
                if expected["reason"] != "split":
                    continue
                bucket = (siphash_2_4(hash_key, case["unit"].encode()) * 1_000_000) >> 64
                owners = [
                    variant["key"]
                    for variant in experiment["variants"]
                    if any(start <= bucket < end for start, end in variant["ranges"])
                ]
                assert owners == [expected["variant"]]
                count += 1
    assert count >= 1_000


def test_tokens_name_their_subject():
    count = 0
    for scenario in json.loads((VECTORS / "evaluation.json").read_text())["scenarios"]:
        for case in scenario["cases"]:
            if "token" not in case:
                continue
            segment = case["token"].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
            parts = ["edgeseal/sub/1", claims["iss"], claims["ut"], case["unit"]]
            tag = hashlib.sha256(b"\0".join(part.encode() for part in parts)).digest()[:16]
            assert base64.urlsafe_b64encode(tag).decode().rstrip("=") == claims["sub"]
            in_token = {key: (value["v"], value["r"]) for key, value in claims["a"].items()}
            assert in_token == {
                key: (value["variant"], value["reason"])
                for key, value in case["expected"].items()
                if "variant" in value
            }
            count += 1
    assert count >= 20
