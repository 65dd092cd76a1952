"""Chance that a key alone decides: the same on every machine, in every process and after a restart."""

import hashlib

MAX_SEED = 2**63 - 1


def stable_seed(*key: object) -> int:
    """A 63-bit number from anything that has a text."""
    # Python's own hash of a text differs from process to process.
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1
