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
        self._once: deque[tuple[str, str]] = deque(maxlen=10_000)
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

    def left(self, key: str) -> int:
        """How many more are not too many; counts nothing."""
        with self._lock:
            self._forget(self.clock())
            return max(0, self.times - len(self._seen.get(key, ())))

    def seen(self, key: str, what: str) -> bool:
        """Whether this was met before under this key; it is from now on."""
        with self._lock:
            known = (key, what) in self._once
            if not known:
                self._once.append((key, what))
            return known

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
