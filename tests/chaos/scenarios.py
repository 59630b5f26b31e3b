"""The scenarios: what is uploaded, and what goes wrong meanwhile. A scenario is a function of its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from tests.chaos.faults import WRITES, Action, Rule
from tests.chaos.tables import TABLES

Kind = Literal["train", "score", "rows", "collected"]
FanOut = Literal["stream", "map"]

CI = 25
"""The first seeds are those of the test suite: each accident once, on the cheapest upload that meets it."""
COLLECTED = "rows for a dataset"
"""Trains twice, which is too dear for the test suite."""

MAPPED = 0.3
"""Share of the scenarios after those whose chunks go through a Map, if they are not about a stream."""

GROUPED = 0.3
"""Share of the scenarios after those whose chunks are dealt to groups; of those, three."""
GROUPED_OF_CI = (3, 15, 19)

NAMES = (
    "killed before a write",
    "killed during a write",
    "killed after a write",
    "everything twice and in another order",
    "calls throttled",
    "calls fail",
    "answers lost",
    "PutRecords in part",
    "functions time out",
    "two versions at once",
    "the same file twice",
    "many files at once",
    "a poison chunk",
    "a slow worker, overtaken by its double",
    "late repeats",
    "killed between the last mark and the report",
    "a service is away",
    "platform restarted",
    "records of the stream",
    "storm",
    COLLECTED,
)
STREAM_ONLY = frozenset(
    {
        "everything twice and in another order",
        "PutRecords in part",
        "a slow worker, overtaken by its double",
        "records of the stream",
        COLLECTED,
    }
)
"""What is about records of a stream."""

# What each stage of a training run and of a score run writes, with the share of scenarios that should hit it.
_TRAINING = (
    ("ingest", 3),
    ("fan_out", 6),
    ("preprocess", 8),
    ("decide", 4),
    ("collect", 2),
    ("train", 3),
    ("select", 4),
    ("report", 2),
    ("register", 5),
    ("finish", 3),
)
_SCORING = (("ingest", 3), ("fan_out", 3), ("preprocess", 4), ("assemble", 5), ("finish", 2))
_WRITES_OF = {
    "fan_out": 4,
    "preprocess": 5,
    "decide": 5,
    "select": 5,
    "register": 6,
    "assemble": 5,
    "finish": 2,
}
"""How many writes a function makes at least; three for the others."""


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes
    ----------
    seed : int
        Of everything in it.
    name : str
        What is broken.
    kind : Kind
        What is uploaded: tables to train, files to score, or rows on the stream, to be scored or collected.
    fan_out : FanOut
        How the chunks reach their workers.
    table : int
        Which of the tables.
    files : int
        How many uploads there are, all at once.
    versions : bool
        Whether they are versions of one file.
    same : bool
        Whether these are the same to the byte.
    apart : bool
        Whether each is uploaded after the one before has ended.
    grouped : bool
        Whether the chunks of a pass are dealt to groups, as those of large files are.
    rules : tuple of Rule
        The accidents.
    events_twice, late, restart : bool
        Whether the notifications come again, in another order; whether everything comes again when all is
        over; whether the platform is restarted in mid-run.
    """

    seed: int
    name: str
    kind: Kind
    table: int
    fan_out: FanOut = "stream"
    grouped: bool = False
    rules: tuple[Rule, ...] = ()
    files: int = 1
    versions: bool = False
    same: bool = False
    apart: bool = False
    events_twice: bool = False
    late: bool = False
    restart: bool = False

    def table_of(self, number: int) -> int:
        """Return the table of an upload: versions of one file that come at once are not the same."""
        return (self.table + number) % len(TABLES) if self.versions and not self.same else self.table

    @property
    def trained(self) -> set[int]:
        """Which tables train."""
        if self.kind not in ("train", "collected"):
            return set()
        return {self.table_of(number) for number in range(self.files)}

    @property
    def alone(self) -> bool:
        """Whether nothing else may be under way."""
        return self.restart


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng = random.Random(seed)
    names = NAMES if seed >= CI else [one for one in NAMES if one != COLLECTED]
    name = names[seed % len(names)]
    kind: Kind = rng.choice(["train", "score"])
    table = rng.randrange(len(TABLES))
    if seed < CI:
        # Training takes the longest: in the test suite only what concerns its own stages trains.
        kind, table = "train" if seed in (1, 2, 17) else "score", 1
    fan_out: FanOut = "stream"
    if seed >= CI and name not in STREAM_ONLY and random.Random(f"{seed} fan-out").random() < MAPPED:
        fan_out = "map"
    grouped = random.Random(f"{seed} groups").random() < GROUPED if seed >= CI else seed in GROUPED_OF_CI
    if name == "records of the stream":
        kind = "rows"
    elif name == COLLECTED:
        kind = "collected"
    base = Scenario(seed, name, kind, table, fan_out, grouped=fan_out == "stream" and grouped)
    return _break(base, rng)


def _break(base: Scenario, rng: random.Random) -> Scenario:
    match base.name:
        case "killed before a write":
            return replace(base, rules=(_kill("kill-before", base.kind, rng),))
        case "killed during a write":
            return replace(base, rules=(_kill("kill-during", base.kind, rng),))
        case "killed after a write":
            return replace(base, rules=(_kill("kill-after", base.kind, rng),))
        case "everything twice and in another order":
            rules = (Rule("double", operation="kinesis:PutRecords"), *_delays(rng))
            return replace(base, rules=rules, events_twice=True)
        case "calls throttled":
            return replace(base, rules=(_often("throttle", rng),))
        case "calls fail":
            return replace(base, rules=(_often("error", rng),))
        case "answers lost":
            rules = (Rule("lose", operation=WRITES, share=rng.uniform(0.1, 0.3)),)
            return replace(base, rules=rules)
        case "PutRecords in part":
            times = rng.randint(1, 5)
            return replace(base, rules=(Rule("part", operation="kinesis:PutRecords", times=times),))
        case "functions time out":
            return replace(base, rules=(_hang(base.kind, rng),))
        case "two versions at once":
            return replace(base, files=2, versions=True, events_twice=True, rules=_delays(rng))
        case "the same file twice":
            return replace(base, files=2, versions=True, same=True, apart=rng.random() < 0.5)
        case "many files at once":
            many = (
                {"train": 4, "score": 8}[base.kind]
                if base.seed < CI
                else {"train": 6, "score": 50}[base.kind]
            )
            return replace(base, files=many)
        case "a poison chunk":
            rules = (_poison(base.kind, rng),)
            if rng.random() < 0.3:  # and nobody can say so: the pass ends for want of heartbeats
                rules += (Rule("kill-before", "chunk_failed", "(s3|states):.*"),)
            return replace(base, rules=rules)
        case "a slow worker, overtaken by its double":
            return replace(base, rules=_overtaken(base, rng))
        case "late repeats":
            return replace(base, late=True, events_twice=True)
        case "killed between the last mark and the report":
            moment: Action = rng.choice(["kill-before", "kill-during", "kill-after"])
            rules = (Rule(moment, "preprocess", "states:SendTaskSuccess", times=rng.randint(1, 6)),)
            return replace(base, rules=rules)
        case "a service is away":
            action: Action = rng.choice(["throttle", "error", "drop"])
            times = rng.randint(5, 40)
            return replace(base, rules=(Rule(action, operation=_service(rng), times=times),))
        case "platform restarted":
            return replace(base, restart=True, events_twice=True, files=1 if base.seed < CI else 2)
        case "records of the stream":
            return replace(base, rules=_on_rows(rng))
        case _ if base.name == COLLECTED:
            return replace(base, rules=_on_collected(rng))
        case "storm":
            some = (
                Rule("throttle", share=0.08),
                Rule("error", share=0.05),
                Rule("drop", share=0.03),
                Rule("lose", operation=WRITES, share=0.08),
                Rule("double", operation="kinesis:PutRecords", share=0.5),
                Rule("delay", share=0.1, seconds=0.3),
                Rule(rng.choice(["kill-before", "kill-after"]), operation=WRITES, share=0.03, times=2),
            )
            return replace(base, rules=some, events_twice=True)
    raise ValueError(base.name)


def _kill(action: Action, kind: Kind, rng: random.Random) -> Rule:
    function = _stage(kind, rng)
    return Rule(action, function, WRITES, nth=(rng.randrange(_WRITES_OF.get(function, 3)),))


def _stage(kind: Kind, rng: random.Random) -> str:
    stages = _TRAINING if kind == "train" else _SCORING
    return rng.choices([name for name, _ in stages], [weight for _, weight in stages])[0]


def _often(action: Action, rng: random.Random) -> Rule:
    service = _service(rng)
    if service in ("kinesis:.*", "states:.*"):  # so few calls that a share of them might be none
        return Rule(action, operation=service, times=rng.randint(1, 12))
    return Rule(action, operation=service, share=rng.uniform(0.1, 0.4))


def _service(rng: random.Random) -> str:
    return rng.choice(["s3:.*", "kinesis:.*", "dynamodb:.*", "states:.*", "s3:(PUT|POST)", ".*"])


def _delays(rng: random.Random) -> tuple[Rule, ...]:
    """What overtakes: calls of ``ingest`` and the workers that take longer than those after them."""
    return (
        Rule("delay", "ingest", share=0.4, seconds=rng.uniform(0.2, 1.5)),
        Rule("delay", "preprocess", share=0.2, seconds=rng.uniform(0.1, 1.0)),
    )


def _hang(kind: Kind, rng: random.Random) -> Rule:
    quick = ["ingest", "fan_out", "preprocess", "preprocess", "finish"]
    quick += ["decide", "collect", "register"] if kind == "train" else ["assemble"]
    function = rng.choice(quick)
    action: Action = rng.choice(["hang-before", "hang-after"])
    return Rule(action, function, WRITES, nth=(rng.randrange(_WRITES_OF.get(function, 3)),))


def _poison(kind: Kind, rng: random.Random) -> Rule:
    """One chunk, of which every worker dies."""
    name = rng.choice(["scan", "profile", "convert"] if kind == "train" else ["scan", "score", "score"])
    return Rule("kill-before", "preprocess", "s3:(HEAD|PUT)", f"/{name}/0000{rng.randrange(3)}\\.json")


def _overtaken(base: Scenario, rng: random.Random) -> tuple[Rule, ...]:
    """Each descriptor comes twice; who is the first to write an object of its chunk is held for seconds."""
    objects = ["profile/", "blocks/", "parquet/", "convert/"] if base.kind == "train" else ["/score/"]
    if TABLES[base.table].ragged:
        objects += ["rejects/"] * 2
    return (
        Rule("double", operation="kinesis:PutRecords"),
        Rule("delay", "preprocess", "s3:PUT", rng.choice(objects), nth=(0, 2), seconds=rng.uniform(3, 8)),
    )


def _on_rows(rng: random.Random) -> tuple[Rule, ...]:
    action: Action = rng.choice(["kill-before", "kill-during", "kill-after"])
    writes = "s3:PUT|dynamodb:(PutItem|UpdateItem)|kinesis:PutRecords"
    return (
        Rule("throttle", "score", share=0.02),
        Rule("lose", "score", writes, share=0.05),
        Rule("part", "score", "kinesis:PutRecords", share=0.3),
        Rule(action, "score", writes, nth=(rng.randrange(30),)),
        Rule(action, "score", writes, nth=(rng.randrange(60, 140),)),
    )


def _on_collected(rng: random.Random) -> tuple[Rule, ...]:
    """What goes wrong while rows are collected, and while a training file is made of them."""
    action: Action = rng.choice(["kill-before", "kill-during", "kill-after"])
    both, writes = "score|retrain", "s3:(PUT|POST)|dynamodb:(PutItem|UpdateItem|DeleteItem)"
    return (
        Rule("throttle", both, share=0.02),
        Rule("lose", both, writes, share=0.05),
        Rule(action, "score", writes, nth=(rng.randrange(30),)),
        Rule(action, "score", writes, nth=(rng.randrange(60, 140),)),
        Rule(action, "retrain", writes, nth=(rng.randrange(3), rng.randrange(3, 8))),
    )
