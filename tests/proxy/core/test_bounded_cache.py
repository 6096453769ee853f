"""A memo keeps what is small, and never more than it may."""

from thoughtgate_proxy.core.bounded_cache import BoundedCache


def test_what_was_put_is_found() -> None:
    cache = BoundedCache[str, int](most=2, longest=3)
    cache.put("abc", 1, 3)
    assert cache.get("abc") == 1
    assert cache.get("other") is None


def test_what_is_too_long_is_not_kept() -> None:
    cache = BoundedCache[str, int](most=2, longest=3)
    cache.put("abcd", 1, 4)
    assert cache.get("abcd") is None


def test_a_full_cache_starts_anew() -> None:
    cache = BoundedCache[int, int](most=2, longest=1)
    for key in range(3):
        cache.put(key, key, 1)
    assert [cache.get(key) for key in range(3)] == [None, None, 2]
