"""A limited rule lets through what it says, in any stretch of its time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.config.values import RateLimit
from thoughtgate_proxy.core.policy.rate_limit import RateLimiter


def test_a_call_over_the_limit_is_told_how_long_to_wait() -> None:
    limiter, limit = RateLimiter(), RateLimit(2, 60.0)
    assert limiter.take(0, limit, 10.0) == 0
    assert limiter.take(0, limit, 30.0) == 0
    assert limiter.take(0, limit, 40.0) == 30.0
    assert limiter.take(0, limit, 69.0) == 1.0
    assert limiter.take(0, limit, 70.0) == 0
    assert limiter.take(0, limit, 71.0) == 19.0


def test_each_rule_counts_for_itself() -> None:
    limiter, limit = RateLimiter(), RateLimit(1, 60.0)
    assert [limiter.take(rule, limit, 0.0) for rule in (0, 1, 0)] == [0.0, 0.0, 60.0]


@settings(max_examples=150)
@given(st.integers(1, 4), st.integers(1, 20), st.lists(st.integers(0, 6), max_size=30))
def test_no_stretch_of_time_has_more_calls_than_allowed(
    count: int, seconds: int, steps: list[int]
) -> None:
    limiter, now, let_through = RateLimiter(), 0, list[int]()
    for step in steps:
        now += step
        recent = sum(1 for then in let_through if now - then < seconds)
        wait = limiter.take(0, RateLimit(count, float(seconds)), float(now))
        assert (wait == 0) is (recent < count)
        if wait == 0:
            let_through.append(now)
