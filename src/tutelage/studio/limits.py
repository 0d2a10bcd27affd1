"""How often something may happen."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class Limit:
    """At most so many times within so many seconds, for each key apart."""

    def __init__(self, times: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.times, self.seconds, self.clock = times, seconds, clock
        self._seen: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def over(self, key: str) -> bool:
        """Counts one more and says whether that is too many."""
        with self._lock:
            self._count(key, self.clock())
            return len(self._seen[key]) > self.times

    def full(self, key: str) -> bool:
        """Whether one more would be too many; counts nothing."""
        with self._lock:
            self._forget(self.clock())
            return len(self._seen.get(key, ())) >= self.times

    def _count(self, key: str, now: float) -> None:
        self._forget(now)
        seen = self._seen.setdefault(key, deque(maxlen=self.times + 1))
        seen.append(now)

    def _forget(self, now: float) -> None:
        for key in list(self._seen):
            seen = self._seen[key]
            while seen and seen[0] <= now - self.seconds:
                seen.popleft()
            if not seen:
                del self._seen[key]
