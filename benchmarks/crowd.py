"""People who go on asking a service while something happens to it, and what they were answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.tiny_service import Server


@dataclass(frozen=True)
class Asked:
    """One request. at: when it was answered (monotonic seconds); seconds it took; status: 0 = no answer; said: the error, if any."""

    at: float
    seconds: float
    status: int
    said: str

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


def ask(send: Callable[[], httpx.Response]) -> tuple[Asked, httpx.Response | None]:
    """Send a request; a lost connection is an answer too."""
    started = time.monotonic()
    try:
        answer = send()
    except httpx.TransportError as error:
        return Asked(time.monotonic(), time.monotonic() - started, 0, type(error).__name__), None
    said = "" if answer.is_success else str(answer.json().get("error", "")) if "json" in answer.headers["content-type"] else answer.text
    return Asked(time.monotonic(), time.monotonic() - started, answer.status_code, said), answer


class Crowd:
    """Clients that each send `request` (arguments of httpx.Client.post), one after the other, while the block lasts.

    judge: what is wrong with an answer of status 200; "" = nothing.
    """

    def __init__(self, server: Server, address: str, request: dict[str, Any], *, clients: int = 1, pause: float = 0.2,
                 judge: Callable[[httpx.Response], str] = lambda _: "") -> None:
        self.server, self.address, self.request, self.pause, self.judge = server, address, request, pause, judge
        self.asked: list[Asked] = []
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, daemon=True) for _ in range(clients)]

    def _go_on(self) -> None:
        with httpx.Client(base_url=self.server.url, timeout=120, trust_env=False) as http:
            while not self._over.is_set():
                asked, answer = ask(lambda: http.post(self.address, **self.request))
                self.asked.append(asked)
                if answer is not None and answer.is_success and (wrong := self.judge(answer)):
                    self.wrong.append(wrong)
                self._over.wait(self.pause)

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_until_good(self, *, seconds: float) -> None:
        """Until somebody who asked after this moment was answered well."""
        now = time.monotonic()
        while not any(asked.good and asked.at - asked.seconds > now for asked in self.asked[-50:]):
            assert time.monotonic() - now < seconds, f"nobody is answered: {self.summary()}"
            time.sleep(0.05)

    def bad_until(self) -> float:
        """When the last request that went wrong was answered (monotonic); 0 if none did."""
        return max((asked.at for asked in self.asked if not asked.good), default=0.0)

    def summary(self) -> str:
        """Statuses of all answers."""
        return counted([f"{asked.status or 'no connection'}" for asked in self.asked])


def counted(words: Iterable[str]) -> str:
    """ "200 x 31, no connection x 4"."""
    return ", ".join(f"{word} x {count}" for word, count in Counter(words).most_common())
