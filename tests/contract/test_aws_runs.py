"""One suite over every RunStore: DynamoDB on moto, and the fake that other tests trust."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from moto import mock_aws

from millrace import keys
from millrace.aws.runs import DynamoRunStore
from millrace.contracts import Parts, PassProgress, RunError, RunStore, Spec, Usage, token_digest
from millrace.errors import BadInput, Misconfigured, NotFound
from tests.fakes import MemoryRunStore, make_run
from tests.moto_clients import create_runs_table, moto_client

TABLE = "runs"


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = moto_client("dynamodb")
        create_runs_table(client, TABLE)
        yield client


@pytest.fixture(params=["dynamodb", "memory"])
def store(request: pytest.FixtureRequest) -> RunStore:
    if request.param == "memory":
        return MemoryRunStore()
    return DynamoRunStore(TABLE, request.getfixturevalue("dynamodb"))


def test_opens_once(store: RunStore) -> None:
    assert store.open(make_run(size_bytes=1))
    assert not store.open(make_run(size_bytes=2))
    assert store.get("cars-1").size_bytes == 1


def test_keeps_every_field(store: RunStore) -> None:
    run = make_run(
        spec=Spec(target="price", exclude=("id", "a,b"), seed=7),
        forced=True,
        warnings=("no target is named: the last column is it",),
        metrics={"rmse": 0.1 + 0.2, "r2": 1.0},
        error=RunError("BadInput", "file-empty", "The file is empty.", "ingest"),
        rows_read=12,
        promoted=False,
    )
    store.open(run)
    assert store.get(run.run_id) == run


def test_an_unknown_run_is_not_found(store: RunStore) -> None:
    with pytest.raises(NotFound, match="nobody"):
        store.get("nobody")
    with pytest.raises(NotFound, match="nobody"):
        store.update("nobody", state="FAILED")


def test_updates_fields_and_the_time(store: RunStore) -> None:
    store.open(make_run())
    error = RunError("BadInput", "c", "m")
    store.update("cars-1", state="FAILED", error=error, metrics={"auc": 0.5}, rows_read=3, promoted=True)
    run = store.get("cars-1")
    assert (run.state, run.error, run.metrics, run.rows_read, run.promoted) == (
        "FAILED",
        error,
        {"auc": 0.5},
        3,
        True,
    )
    assert run.updated_at != "2026-11-20T10:00:00.000Z"
    store.update("cars-1", error=None)
    assert store.get("cars-1").error is None


@pytest.mark.parametrize("name", ["progress", "usage", "colour"])
def test_refuses_to_update_what_is_no_field(store: RunStore, name: str) -> None:
    store.open(make_run())
    with pytest.raises(ValueError, match=name):
        store.update("cars-1", **{name: 1})


def test_counts_each_part_once(store: RunStore) -> None:
    store.open(make_run())
    store.start_pass("cars-1", "profile", total=3, token="t1")
    assert store.get("cars-1").progress == {"profile": PassProgress(0, 3, "t1")}
    for part, done in [(2, 1), (0, 2), (2, 2), (0, 2), (1, 3), (1, 3)]:
        progress = store.complete_part("cars-1", "profile", part)
        assert progress == PassProgress(done, 3, "t1")
        assert progress.complete is (done == 3)


def test_beginning_a_pass_again_keeps_what_is_done(store: RunStore) -> None:
    store.open(make_run())
    store.start_pass("cars-1", "profile", total=3, token="t1")
    store.complete_part("cars-1", "profile", 1)
    store.start_pass("cars-1", "profile", total=3, token="t2")
    assert store.complete_part("cars-1", "profile", 1) == PassProgress(1, 3, "t2")


def test_the_parts_that_are_done_are_known_by_number(store: RunStore) -> None:
    store.open(make_run())
    assert store.parts("cars-1", "profile") is None
    store.start_pass("cars-1", "profile", total=12, token="t1")
    for part in (11, 3, 3):
        store.complete_part("cars-1", "profile", part)
    assert store.parts("cars-1", "profile") == Parts(12, token_digest("t1"), frozenset({3, 11}), {}, 12)
    assert store.parts("cars-1", "convert") is None


def test_each_part_is_claimed_by_one_ticket_for_good(store: RunStore) -> None:
    store.open(make_run())
    store.start_pass("cars-1", "profile", total=3, token="t")
    assert [store.claim_part("cars-1", "profile", ticket=ticket, token="t") for ticket in (7, 1)] == [0, 1]
    assert store.claim_part("cars-1", "profile", ticket=7, token="t") is None, "it has one"
    assert store.claim_part("cars-1", "profile", ticket=2, token="old") is None
    assert store.claim_part("cars-1", "convert", ticket=2, token="t") is None
    store.complete_part("cars-1", "profile", 0)
    assert store.claim_part("cars-1", "profile", ticket=2, token="t") == 2
    assert store.claim_part("cars-1", "profile", ticket=3, token="t") is None, "none is left"
    assert store.parts("cars-1", "profile") == Parts(
        3, token_digest("t"), frozenset({0}), {7: 0, 1: 1, 2: 2}, 0
    )


def test_in_a_pass_begun_again_all_is_claimed_anew_but_what_is_to_be_skipped(store: RunStore) -> None:
    store.open(make_run())
    store.start_pass("cars-1", "profile", total=4, token="t1")
    store.claim_part("cars-1", "profile", ticket=0, token="t1")
    for part in (0, 2):
        store.complete_part("cars-1", "profile", part)
    store.start_pass("cars-1", "profile", total=4, token="t2", skip={0, 2})
    assert store.parts("cars-1", "profile") == Parts(4, token_digest("t2"), frozenset({0, 2}), {}, 2)
    assert [store.claim_part("cars-1", "profile", ticket=ticket, token="t2") for ticket in range(3)] == [
        1,
        3,
        None,
    ]
    store.start_pass("cars-1", "profile", total=4, token="t3")
    assert store.claim_part("cars-1", "profile", ticket=0, token="t3") == 0


def in_groups(store: RunStore, total: int, groups: int, skip: Collection[int] = (), token: str = "t") -> None:
    if not skip:
        store.open(make_run())
    store.start_pass("cars-1", "profile", total=total, token=token, skip=skip, groups=groups)


def claim(store: RunStore, group: int | None, ticket: int, token: str = "t") -> int | None:
    return store.claim_part("cars-1", "profile", ticket=ticket, token=token, group=group)


def test_each_group_has_parts_of_its_own_to_claim(store: RunStore) -> None:
    in_groups(store, 7, 3)
    assert [claim(store, 1, ticket) for ticket in (1, 4, 7)] == [1, 4, None]
    assert claim(store, 1, 1) is None, "it has one"
    assert claim(store, 0, 0, "old") is None
    assert claim(store, None, 0) is None, "the pass itself has none to give"
    assert claim(store, 3, 0) is None, "there is no such group"
    assert store.parts("cars-1", "profile", 1) == Parts(2, token_digest("t"), frozenset(), {1: 1, 4: 4}, 0)
    assert store.parts("cars-1", "profile", 0) == Parts(3, token_digest("t"), frozenset(), {}, 3)
    assert store.parts("cars-1", "profile", 3) is None
    assert store.parts("cars-1", "profile") == Parts(7, token_digest("t"), frozenset(), {}, 0, groups=3)


def test_a_group_is_counted_in_its_pass_when_it_is_complete(store: RunStore) -> None:
    in_groups(store, 5, 2)
    marks = [(0, 0), (1, 1), (2, 0), (0, 0), (3, 1), (1, 1), (4, 0), (2, 0)]
    found = [store.complete_part("cars-1", "profile", part, group) for part, group in marks]
    assert [(progress.done, progress.total) for progress in found] == [
        *((1, 3), (1, 2), (2, 3), (2, 3), (2, 5), (2, 5), (5, 5), (5, 5)),
    ]
    assert [progress.token for progress in found if progress.complete] == ["t", "t"]
    assert store.parts("cars-1", "profile", 0) == Parts(3, token_digest("t"), frozenset({0, 2, 4}), {}, 3)


def test_progress_counts_complete_groups_or_in_full_what_is_done(store: RunStore) -> None:
    in_groups(store, 5, 2)
    assert store.parts_done("cars-1", "profile") == frozenset()
    for part, group in [(0, 0), (1, 1), (3, 1)]:
        store.complete_part("cars-1", "profile", part, group)
    assert store.get("cars-1").progress == {"profile": PassProgress(2, 5, "t")}
    assert store.get("cars-1", full=True).progress == {"profile": PassProgress(3, 5, "t")}
    assert store.parts_done("cars-1", "profile") == {0, 1, 3}
    assert store.parts_done("cars-1", "convert") == frozenset()


@pytest.mark.parametrize("groups", [0, 2, 3, 5])
def test_what_is_left_of_a_pass_begun_again_may_be_dealt_otherwise(store: RunStore, groups: int) -> None:
    in_groups(store, 9, 3)
    for part in (0, 1, 3, 6):  # the first group is complete
        store.complete_part("cars-1", "profile", part, part % 3)
    assert claim(store, 2, 2) == 2
    done = store.parts_done("cars-1", "profile")
    in_groups(store, 9, groups, done, "new")
    late = store.complete_part("cars-1", "profile", 2, 2)  # by whoever had it before
    assert not late.complete
    if groups:
        assert claim(store, 1, 1) is None, "its token is the old one"
    assert store.parts_done("cars-1", "profile") >= {0, 1, 3, 6}
    seen, last = [], late
    for group in range(groups) if groups else [None]:
        for ticket in range(9):
            part = claim(store, group, ticket, "new")
            if part is not None:
                seen.append(part)
                last = store.complete_part("cars-1", "profile", part, group)
    assert sorted(seen) == [2, 4, 5, 7, 8]
    assert last == PassProgress(9, 9, "new")
    assert store.parts_done("cars-1", "profile") == set(range(9))


def test_a_group_of_a_pass_that_never_began_is_not_found(store: RunStore) -> None:
    in_groups(store, 4, 2)
    with pytest.raises(NotFound):
        store.complete_part("cars-1", "convert", 0, 0)
    with pytest.raises(NotFound):
        store.complete_part("cars-1", "profile", 0, 2)


def test_passes_are_counted_apart(store: RunStore) -> None:
    store.open(make_run())
    store.start_pass("cars-1", "profile", total=1)
    store.start_pass("cars-1", "train", total=4)
    store.complete_part("cars-1", "profile", 0)
    assert store.get("cars-1").progress == {"profile": PassProgress(1, 1), "train": PassProgress(0, 4)}


def test_a_pass_that_never_began_is_not_found(store: RunStore) -> None:
    store.open(make_run())
    with pytest.raises(NotFound):
        store.complete_part("cars-1", "profile", 0)


def test_adds_up_usage_by_function(store: RunStore) -> None:
    store.open(make_run())
    store.add_usage("cars-1", Usage("train", 1, 100, 2048, s3_writes=2, table_reads=1))
    store.add_usage("cars-1", Usage("train", 2, 50, 2048, s3_writes=3, s3_reads=5))
    store.add_usage("cars-1", Usage("decide", 1, 7, 512))
    trained = Usage("train", 3, 150, 2048, s3_writes=5, s3_reads=5, table_reads=1)
    assert store.get("cars-1", full=True).usage == (Usage("decide", 1, 7, 512), trained)


def test_lists_newest_first_by_page(store: RunStore) -> None:
    for number in range(5):
        store.open(make_run(f"cars-{number}", created_at=f"2026-11-20T10:00:0{number}.000Z"))
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(5):
        page, cursor = store.list(limit=2, cursor=cursor)
        seen += [run.run_id for run in page]
        if cursor is None:
            break
    assert seen == ["cars-4", "cars-3", "cars-2", "cars-1", "cars-0"]


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        base64.urlsafe_b64encode(b'{"pk": 1, "sk": "run", "gsi_pk": "run", "gsi_sk": "a"}').decode(),
        base64.urlsafe_b64encode(b'{"pk": "a", "sk": "run", "gsi_pk": "run", "gsi_sk": ""}').decode(),
        base64.urlsafe_b64encode(b'["pk"]').decode(),
    ],
    ids=["text", "number", "empty", "list"],
)
def test_refuses_a_cursor_that_is_not_ours(store: RunStore, cursor: str) -> None:
    with pytest.raises(BadInput, match="cursor"):
        store.list(cursor=cursor)


def test_remembers_the_last_success_of_a_dataset(store: RunStore) -> None:
    assert store.last_success("cars") is None
    store.open(make_run("cars-1", created_at="2026-11-20T10:00:01.000Z"))
    store.open(make_run("cars-2", created_at="2026-11-20T10:00:02.000Z"))
    store.record_success("cars-2")
    store.record_success("cars-1")  # the older run ends after the younger one
    last = store.last_success("cars")
    assert last is not None
    assert last.run_id == "cars-2"
    assert store.last_success("boats") is None


def test_remembers_the_last_upload_apart_from_collected_rows(store: RunStore) -> None:
    store.open(make_run("cars-1", created_at="2026-11-20T10:00:01.000Z"))
    collected = keys.generation_file("cars", 1)
    store.open(make_run("cars-2", key=collected, created_at="2026-11-20T10:00:02.000Z"))
    store.record_success("cars-2")
    assert store.last_upload("cars") is None
    store.record_success("cars-1")
    last, upload = store.last_success("cars"), store.last_upload("cars")
    assert last is not None
    assert upload is not None
    assert (last.run_id, last.source, upload.run_id) == ("cars-2", "stream", "cars-1")


@pytest.mark.slow
def test_an_item_of_the_widest_pass_costs_one_unit_a_write(dynamodb: Any) -> None:
    store = DynamoRunStore(TABLE, dynamodb)
    run_id = f"{'d' * 40}-0123456789ab"
    store.start_pass(run_id, "profile", total=1000, token="t" * 2048, groups=2000 // 90)
    for ticket in range(0, 1980, 22):
        claimed = store.claim_part(run_id, "profile", ticket=ticket, token="t" * 2048, group=0)
        if claimed is not None:
            store.complete_part(run_id, "profile", claimed, 0)
    key = {"pk": {"S": f"run#{run_id}#profile#0"}, "sk": {"S": "group"}}
    item = dynamodb.get_item(TableName=TABLE, Key=key)["Item"]
    assert len(item["done"]["NS"]) == 46
    assert item_bytes(item) <= 1024


def item_bytes(item: dict[str, Any]) -> int:
    """Return an item's size as the developer guide estimates it ("DynamoDB item sizes and formats")."""

    def of(value: dict[str, Any]) -> int:
        ((kind, inside),) = value.items()
        if kind == "S":
            return len(inside.encode())
        if kind == "N":
            return (len(inside) + 1) // 2 + 1
        if kind == "NS":
            return sum(of({"N": number}) for number in inside)
        return 3 + sum(len(name) + of(each) + 1 for name, each in inside.items())

    return sum(len(name) + of(value) for name, value in item.items())


def test_a_table_that_is_not_there_is_misconfigured(dynamodb: Any) -> None:
    with pytest.raises(Misconfigured):
        DynamoRunStore("another", dynamodb).get("cars-1")
