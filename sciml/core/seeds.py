"""Seeds that derive from what is computed, never from who computes it or in which order."""

import hashlib


def seed_for(root: int, *content: int | str) -> int:
    """Seed in [0, 2**63) for one piece of work.

    root: the run's seed. content: what the work is (mascon, member, ...), not its place in a queue, so that
    any grouping into items and any number of workers draw the same numbers.
    """
    text = "\x1f".join([str(int(root)), *(f"{type(part).__name__}:{part}" for part in content)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
