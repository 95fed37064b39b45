"""What every store keeps: sessions, executions, and the moves of their jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.internet.defer import Deferred

from crowdai_broker.core.model import (
    MAX_MOVES,
    EffectKind,
    Inbox,
    LoggedEvent,
    Move,
    Moved,
    Session,
)
from crowdai_broker.interfaces import IStore

from .making import (
    COMPLETE,
    DISPATCHED,
    FAILED,
    ORDER,
    QUEUED,
    REGISTERING,
    RUNNING,
    Lane,
    a_job,
    a_move,
    a_take,
    acceptance,
    draft,
    effect,
    text,
)
from .store_case import StoreCase


class SessionContract(StoreCase):
    async def test_session_is_kept_until_closed(self) -> None:
        """A session is found under its hash with all it holds, until closed; closing tells of it once."""
        store = await self.make_store()
        session = Session(7, "C", "aa" * 32, "1.0.22")
        await store.open_session("hash", session, 60)
        self.assertEqual(await store.session("hash"), session)
        self.assertTrue(await store.close_session("hash"))
        self.assertIsNone(await store.session("hash"))
        self.assertFalse(await store.close_session("hash"))


class AcceptContract(StoreCase):
    async def test_all_of_it_is_stored(self) -> None:
        """What was accepted is read back whole: execution, jobs in order, events with their numbers."""
        store = await self.make_store()
        jobs = [
            a_job("x", n, data_sequence_no=n, grader_id="g", due=77, lane=Lane.REGRADE) for n in range(11)
        ]
        given = acceptance("x", jobs, words=["hello", "Grüße \\u00e9"])
        accepted = await store.accept(given)
        self.assertEqual((accepted.execution_id, accepted.fresh), ("x", True))
        execution = await self.execution_of(store, "x")
        self.assertEqual((execution.open, execution.unfinished, execution.event_no), (11, 11, 2))
        self.assertEqual((execution.api_key, execution.progress_key), ("k", "p"))
        self.assertEqual(execution.accepted_at, 1000)
        self.assertEqual(await store.jobs("x"), jobs)
        self.assertEqual(await store.job("x-3"), jobs[3])
        events = await store.events("x", 0, 10)
        self.assertEqual(events, [LoggedEvent(1, text(1, "hello")), LoggedEvent(2, text(2, "Grüße \\u00e9"))])
        self.assertEqual(await store.unfinished("C"), 11)
        self.assertEqual(await store.backlog(), {"C": 11})

    async def test_what_is_not_there_is_none(self) -> None:
        """Nothing is found under ids that nobody gave."""
        store = await self.make_store()
        self.assertIsNone(await store.execution("x"))
        self.assertIsNone(await store.job("x-0"))
        self.assertIsNone(await store.idempotent("h"))
        self.assertEqual(await store.jobs("x"), [])
        self.assertEqual(await store.events("x", 0, 10), [])
        self.assertEqual(await store.attempts(["1", "2"]), [None, None])
        self.assertEqual(await store.attempts([]), [])
        self.assertEqual(await store.unfinished("C"), 0)
        self.assertEqual(await store.backlog(), {})

    async def test_idempotency_key_names_the_first(self) -> None:
        """A second execution with the same hash is not stored; the first is named instead."""
        store = await self.make_store()
        await store.accept(acceptance("x", idempotency="h"))
        again = await store.accept(acceptance("y", idempotency="h"))
        self.assertEqual((again.execution_id, again.fresh), ("x", False))
        self.assertIsNone(await store.execution("y"))
        self.assertEqual(await store.idempotent("h"), "x")
        self.assertEqual(await store.unfinished("C"), 1)

    async def test_repeated_acceptance_stores_once(self) -> None:
        """The same execution accepted again, because the first answer was lost, is stored once and fresh."""
        store = await self.make_store()
        for hashed in ("", "h"):
            given = acceptance(f"x{hashed}", words=["hello"], idempotency=hashed)
            await store.accept(given)
            again = await store.accept(given)
            self.assertEqual((again.execution_id, again.fresh), (f"x{hashed}", True))
            self.assertEqual(len(await store.events(f"x{hashed}", 0, 10)), 1)
        self.assertEqual(await store.backlog(), {"C": 2})

    async def test_events_are_read_in_pages(self) -> None:
        """Events after a number come in order and no more than asked for."""
        store = await self.make_store()
        await store.accept(acceptance("x", words=list("abcdef")))
        page = await store.events("x", 2, 3)
        self.assertEqual([event.event_no for event in page], [3, 4, 5])
        self.assertEqual(await store.events("x", 6, 3), [])


class KnownContract(StoreCase):
    async def test_submissions_are_remembered(self) -> None:
        """A submission is known once a job has it, from its acceptance or by a move, and no other is."""
        store = await self.make_store()
        known = [1, 8191, 8192, 2**53 - 1]
        for number in known:
            self.assertFalse(await store.submission_known(number))
            await store.accept(acceptance(f"x{number}", [a_job(f"x{number}", submission_id=number)]))
        await store.accept(acceptance("y"))
        await store.move([a_move("y-0", fields={"submission_id": "70000"})], "n1", 1)
        for number in [*known, 70000]:
            self.assertTrue(await store.submission_known(number), number)
        for number in (0, 2, 8190, 8193, 2**53 - 2, 69999):
            self.assertFalse(await store.submission_known(number), number)

    async def test_secrets_are_shared(self) -> None:
        """Every node gets the same bytes under a name, other bytes under another."""
        store = await self.make_store()
        other = await self.make_store("n2")
        secret = await store.secret("a")
        self.assertEqual((len(secret), await other.secret("a")), (32, secret))
        self.assertNotEqual(await other.secret("b"), secret)


class MoveContract(StoreCase):
    async def test_only_from_where_it_was_believed_to_be(self) -> None:
        """A move is refused if the job's state or attempt is another, if it is unknown, or if it is over."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        await store.take(a_take("11"))
        moves = [
            a_move("x-0", "no", expect=frozenset({QUEUED})),
            a_move("x-0", "no", attempt="12"),
            a_move("nobody", "no"),
            a_move("x-0", "no", done=EffectKind.GRADE),
            a_move("x-0", "yes", expect=frozenset({DISPATCHED, RUNNING}), attempt="11", to=COMPLETE),
            a_move("x-0", "no", to=FAILED),
            a_move("x-0", "after", expect=frozenset({COMPLETE})),
        ]
        moved = await store.move(moves, "n1", 6000)
        self.assertEqual([m.applied for m in moved], [False] * 4 + [True, False, True])
        self.assertEqual((moved[0].execution_id, moved[0].unfinished), ("", -1))
        self.assertEqual((moved[4].execution_id, moved[4].unfinished), ("x", 0))
        self.assertEqual(moved[4].events, (LoggedEvent(1, text(1, "yes")),))
        self.assertEqual([e.text for e in await store.events("x", 0, 9)], [text(1, "yes"), text(2, "after")])

    async def test_end_of_a_job(self) -> None:
        """With its terminal state a job leaves the attempts, the flight, the sweep and the count."""
        store = await self.make_store()
        await store.accept(acceptance("x", [a_job("x", 0), a_job("x", 1)]))
        await store.take(a_take("35184372088832", "70368744177663"))
        before = await store.attempts(["70368744177663", "35184372088832", "5"])
        self.assertEqual([job and job.job_id for job in before], ["x-1", "x-0", None])
        moved = await store.move([a_move("x-0", to=FAILED, fields={"result": "{}"})], "n1", 6000)
        self.assertEqual(moved[0].unfinished, 1)
        job = await self.job_of(store, "x-0")
        self.assertEqual(
            (job.state, job.attempt, job.due, job.result, job.attempts), (FAILED, "", 0, "{}", 1)
        )
        self.assertEqual(await store.attempts(["35184372088832"]), [None])
        self.assertEqual((await store.counts())["in_flight"], 1)
        self.assertEqual((await store.counts())["jobs_due"], 1)
        self.assertEqual(await store.unfinished("C"), 1)

    async def test_key_is_erased_when_nothing_is_open(self) -> None:
        """The participant's key is kept while any job or effect of the execution is open, and no longer."""
        store = await self.make_store()
        await store.accept(acceptance("x", [a_job("x", 0), a_job("x", 1)]))
        await store.move(
            [a_move("x-0", to=COMPLETE), a_move("x-1", to=COMPLETE, effects=(effect(),))], "n1", 1
        )
        execution = await self.execution_of(store, "x")
        self.assertEqual((execution.open, execution.unfinished, execution.api_key), (1, 0, "k"))
        self.assertEqual((await self.job_of(store, "x-0")).order, ORDER)
        await store.move([a_move("x-1", done=EffectKind.GRADE)], "n1", 2)
        execution = await self.execution_of(store, "x")
        self.assertEqual((execution.open, execution.api_key), (0, ""))
        self.assertEqual((await self.job_of(store, "x-0")).order, "")

    async def test_fields_extension_and_due(self) -> None:
        """A move sets the members it names, lengthens the order, and gives the sweep a new time or none."""
        store = await self.make_store()
        await store.accept(acceptance("x", [a_job("x", state=REGISTERING, due=50)]))
        fields = {"submission_id": "12", "submission": '{"a":1}'}
        await store.move([a_move("x-0", to=QUEUED, fields=fields, extend=',"submission_id":12')], "n1", 1)
        job = await self.job_of(store, "x-0")
        self.assertEqual((job.submission_id, job.submission, job.due), (12, '{"a":1}', 50))
        self.assertEqual(job.order, ORDER + ',"submission_id":12')
        await store.move([a_move("x-0", due=80)], "n1", 1)
        self.assertEqual([job.due for job in await store.due_jobs(100, 5)], [80])
        await store.move([a_move("x-0", due=0)], "n1", 1)
        self.assertEqual(await store.due_jobs(100, 5), [])

    async def test_unknown_field_is_an_error(self) -> None:
        """A move that names a member it may not set is a mistake of the caller, before anything happens."""
        store = await self.make_store()
        await self.assertFailure(_fired(store, [a_move("x-0", fields={"state": "complete"})]), ValueError)

    async def test_too_many_moves_are_an_error(self) -> None:
        """One step is bounded: 512 moves go, one more is a mistake of the caller."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        await self.assertFailure(_fired(store, [a_move("x-0")] * (MAX_MOVES + 1)), ValueError)
        moved = await store.move([a_move("x-0", "w")] * MAX_MOVES, "n1", 1)
        self.assertEqual(moved[-1].events[0].event_no, MAX_MOVES)
        self.assertEqual(await store.move([], "n1", 1), [])

    async def test_held_progress(self) -> None:
        """The newest held event is logged when flushed or before the end, and dropped with its attempt."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        await store.take(a_take("1"))
        held = [a_move("x-0", hold=draft(word)) for word in ("10%", "20%")]
        moved = await store.move(held, "n1", 1)
        self.assertEqual([m.events for m in moved], [(), ()])
        moved = await store.move([a_move("x-0", "info"), a_move("x-0", flush=True)] * 2, "n1", 1)
        said = [e.text for m in moved for e in m.events]
        self.assertEqual(said, [text(1, "info"), text(2, "20%"), text(3, "info")])
        await store.move([held[0], a_move("x-0", to=QUEUED)], "n1", 1)
        await store.take(a_take("2"))
        self.assertEqual((await self.job_of(store, "x-0")).held, "")
        moved = await store.move([held[1], a_move("x-0", "end", to=COMPLETE)], "n1", 1)
        self.assertEqual([e.text for e in moved[1].events], [text(4, "20%"), text(5, "end")])
        self.assertEqual((await self.job_of(store, "x-0")).held, "")

    async def test_moves_of_one_step_see_each_other(self) -> None:
        """Moves of one step are applied in order, across executions, and numbered in each one's log."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        await store.accept(acceptance("y"))
        moves = [
            a_move("x-0", "a"),
            a_move("y-0", "b"),
            a_move("x-0", "c", to=COMPLETE),
            a_move("x-0", "d", to=FAILED),
        ]
        moved = await store.move(moves, "n1", 1)
        numbers = [[e.event_no for e in m.events] for m in moved]
        self.assertEqual(numbers, [[1], [1], [2], []])

    async def test_event_text_is_kept_byte_for_byte(self) -> None:
        """Text with quotes, braces, percent signs, other scripts and line ends is logged as it was given."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        word = json.dumps('%1 {} "\n" \0 日本語 ' + "é" * 70000, ensure_ascii=False)[1:-1]
        moved = await store.move([a_move("x-0", word)], "n1", 1)
        self.assertEqual(moved[0].events[0].text, text(1, word))
        self.assertEqual((await store.events("x", 0, 5))[0].text, text(1, word))


class InboxContract(StoreCase):
    async def test_entries_go_with_the_step(self) -> None:
        """Entries are removed with the moves they stand for, refused or not; later entries stay."""
        store = await self.make_store()
        key = store.response_list("n1")
        await store.accept(acceptance("x"))
        await self.push(key, b"a", b"b", b"c")
        moved = await store.move([a_move("x-0", "ok"), a_move("no", "no")], "n1", 1, Inbox(key, 2, 0))
        self.assertEqual([m.applied for m in moved], [True, False])
        self.assertEqual(await self.list_of(key), [b"c"])
        await store.move([], "n1", 1, Inbox(key, 1, 2))
        self.assertEqual(await self.list_of(key), [])

    async def test_entries_count_once(self) -> None:
        """A step that is repeated, or taken by another reader of the list, is refused whole."""
        store = await self.make_store()
        key = store.response_list("n1")
        await store.accept(acceptance("x"))
        await self.push(key, b"a", b"b")
        step = [a_move("x-0", "ok")]
        self.assertTrue((await store.move(step, "n1", 1, Inbox(key, 1, 0)))[0].applied)
        self.assertFalse((await store.move(step, "n1", 1, Inbox(key, 1, 0)))[0].applied)
        self.assertEqual(await self.list_of(key), [b"b"])
        self.assertEqual(len(await store.events("x", 0, 9)), 1)

    async def test_remote_list_is_only_counted(self) -> None:
        """Entries of a list on another server are counted as removed; one of that name here stays."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        await self.push("there", b"a")
        for applied in (True, False):
            moved = await store.move([a_move("x-0")], "n1", 1, Inbox("there", 1, 0, remote=True))
            self.assertEqual(moved[0].applied, applied)
        self.assertEqual(await self.list_of("there"), [b"a"])


def _fired(store: IStore, moves: Sequence[Move]) -> Deferred[list[Moved]]:
    return Deferred.fromCoroutine(store.move(moves, "n1", 1))
