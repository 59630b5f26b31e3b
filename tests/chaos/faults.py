"""What goes wrong in a scenario: rules about calls, decided by the scenario's seed and nothing else."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Action = Literal[
    "throttle",
    "error",
    "drop",
    "lose",
    "delay",
    "hang-before",
    "hang-after",
    "kill-before",
    "kill-during",
    "kill-after",
    "double",
    "part",
]
"""``throttle`` and ``error``: refused, without effect; ``drop``: the connection ends, without effect;
``lose``: it ends after the effect; ``hang``: no answer ever; ``kill``: the caller's process ends; ``double``
and ``part``: of ``PutRecords``, everything twice and in another order, or a part refused."""

WRITES = (
    r"s3:(PUT|POST|DELETE)|dynamodb:(UpdateItem|PutItem)|kinesis:PutRecords|"
    r"states:(SendTask(Success|Failure)|StartExecution)"
)


@dataclass(frozen=True)
class Call:
    """One call of a function; ``text`` has what it is about: an object's path, or the decoded request."""

    function: str
    operation: str
    text: str
    token: str = ""


@dataclass(frozen=True)
class Rule:
    """One kind of accident.

    ``function``, ``operation`` and ``text`` are expressions that must match (``text`` anywhere). Of the calls
    that do, those of the numbers ``nth`` are hit, counted from 0, or else the share ``share``; at most
    ``times``.
    """

    action: Action
    function: str = ".*"
    operation: str = ".*"
    text: str = ""
    nth: tuple[int, ...] | None = None
    share: float = 1.0
    times: int = 1_000_000
    seconds: float = 0.0

    def matches(self, call: Call) -> bool:
        """Whether the rule is about such a call."""
        return bool(
            re.fullmatch(self.function, call.function)
            and re.fullmatch(self.operation, call.operation)
            and re.search(self.text, call.text)
        )


@dataclass
class Faults:
    """The rules of one scenario, and what came of them."""

    seed: int
    rules: tuple[Rule, ...]
    tokens: set[str] = field(default_factory=set)
    """Task tokens of the scenario's runs."""
    done: list[str] = field(default_factory=list)
    """What went wrong, in order."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._lock = threading.Lock()
        self._seen: Counter[int] = Counter()
        self._hit: Counter[int] = Counter()
        self._calls: Counter[tuple[str, str, str]] = Counter()

    def meet(self, call: Call) -> Rule | None:
        """Return what happens to the call; ``None`` when it goes through."""
        with self._lock:
            name = (call.function, call.operation, call.text)
            occurrence = self._calls[name]
            self._calls[name] += 1
            for index, rule in enumerate(self.rules):
                if not rule.matches(call):
                    continue
                number = self._seen[index]
                self._seen[index] += 1
                if self._hit[index] >= rule.times:
                    continue
                if rule.nth is not None:
                    hit = number in rule.nth
                else:
                    hit = self._draw(index, name, occurrence) < rule.share
                if hit:
                    self._hit[index] += 1
                    self.done.append(f"{rule.action} {call.function} {call.operation} {call.text[:100]}")
                    return rule
        return None

    def _draw(self, index: int, name: tuple[str, str, str], occurrence: int) -> float:
        """Return a number from 0 to 1 that follows from the seed and the call, whatever runs beside it."""
        operation, text = name[1], re.sub(r"[0-9a-f-]{12,}|\d{4}-\d\d-\d\dT[\d:.]+Z?", "", name[2])
        digest = hashlib.sha256(f"{self.seed} {index} {operation} {text} {occurrence}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64
