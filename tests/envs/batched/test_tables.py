"""What the batched engine remembers in."""

import numpy as np

from duologue.envs.batched.tables import GOLDEN, HashTable


def test_full_hash_tables_find_what_they_hold() -> None:
    """A thousand keys that all want the first places, added in two parts, one of them twice."""
    table, keys = HashTable(), np.arange(1, 1001, dtype=np.uint64)
    inverse = pow(int(GOLDEN), -1, 2**64)  # so that the table's own multiplication gives small numbers
    keys = np.array([int(key) * inverse % 2**64 for key in keys], dtype=np.uint64)
    table.add(keys[:600], np.arange(600))
    table.add(keys[500:], np.arange(500, 1000) + 7)
    expected = np.where(np.arange(1000) < 600, np.arange(1000), np.arange(1000) + 7)
    assert np.array_equal(table.find(keys), expected)
    assert table.find(np.array([12345], dtype=np.uint64)).tolist() == [-1]
