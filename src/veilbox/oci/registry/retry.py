"""What is worth asking again, and when.

Source: RFC 9110 (idempotent methods, Retry-After), RFC 6585 (429); exponential backoff with jitter so that many
machines which were refused together do not come back together.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

# 408 and 425 ask for it, 429 and 503 say when; 500, 502 and 504 are what overloaded front ends say.
RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class Clock(Protocol):
    """Time as the retries see it."""

    def now(self) -> float:
        """Seconds, never going back."""

    def wall(self) -> datetime:
        """The date, with its zone."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """This machine's."""

    def now(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def wall(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How patient we are.

    Attributes:
        attempts: How often one request is sent at most.
        first_s: Seconds before the second attempt; doubled before each further one.
        limit_s: Most seconds between two attempts that we choose ourselves.
        patience_s: Most seconds that a registry may ask us to wait at once; beyond it the request fails, for a person
            may rather do something else (registries' hourly quotas ask for an hour).
    """

    attempts: int = 5
    first_s: float = 0.5
    limit_s: float = 20.0
    patience_s: float = 120.0

    def delay_s(self, attempt: int) -> float:
        """Seconds before attempt `attempt` (the second is 1): between half and all of the doubled time."""
        full = min(self.limit_s, self.first_s * 2.0 ** (attempt - 1))
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing


def retry_after_s(text: str | None, wall: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3); None if it is absent or not understood.

    Args:
        text: Seconds or an HTTP date.
        wall: Now.
    """
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(min(int(text.strip()[:9]), 1_000_000_000))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - wall).total_seconds())


@dataclass
class RateGate:
    """Lets no worker ask a host before the moment that the host named to any of them.

    Attributes:
        clock: Whose time.
    """

    clock: Clock
    _not_before: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def close_for(self, host: str, seconds: float) -> None:
        """Nobody asks that host for so long."""
        with self._lock:
            self._not_before[host] = max(self._not_before.get(host, 0.0), self.clock.now() + seconds)

    def pass_through(self, host: str) -> None:
        """Wait until the host may be asked."""
        while True:
            with self._lock:
                left = self._not_before.get(host, 0.0) - self.clock.now()
            if left <= 0:
                return
            self.clock.sleep(left)
