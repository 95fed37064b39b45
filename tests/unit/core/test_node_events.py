"""A whole node and what graders say: broken, late, too much."""

from __future__ import annotations

import json

from crowdai_broker.config import LimitsConfig

from .node_case import NodeCase
from .world import BATCH, START, a_config


class BrokenTests(NodeCase):
    def test_broken_events(self) -> None:
        """What graders break is repaired or dropped and counted; the grade comes through."""
        self.ada.execute()
        job = self.take()
        number = job.order["data_sequence_no"]
        job.write(b"not json")
        job.write(b"[]")
        job.write(b"\xff\xfe")
        job.write(json.dumps({"data_sequence_no": 1, "response_type": "CrowdAI.Event.Job.INFO"}).encode())
        job.say("WAITING")
        job.say("ENQUEUED")
        job.say("INFO", message={"rows": 3}, job_id={"an": "object"})
        job.say("PROGRESS_UPDATE", {"percent_complete": "40"}, data_sequence_no=str(number))
        job.say("PROGRESS_UPDATE", {"percent_complete": "many"})
        job.write(json.dumps({"data_sequence_no": number, "job_state": "crowdai.job_state.INFO"}).encode())
        late = {"data_sequence_no": float(number), "response_type": "CrowdAI.Event.Job.COMPLETE"}
        job.write(json.dumps({**late, "data": {"score": "0.5", "curve": float("nan")}}).encode())
        job.complete(score=1)
        job.fail("second thoughts")
        self.world.run(2)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "INFO", "PROGRESS_UPDATE", "INFO", "COMPLETE"])
        self.assertEqual(self.ada.messages("INFO"), ['{"rows":3}', ""])
        self.assertEqual(self.ada.events[2]["data"], {"percent_complete": 40.0})
        self.assertEqual(self.ada.acks[0][0].data, {"score": "0.5", "curve": None, "submission_id": 1})
        self.assertEqual([grade.score for grade in self.world.webapp.rows[1].grades], [0.5])
        self.assertEqual(
            self.node.tally.dropped,
            {"not_json": 3, "attempt_over": 3, "unknown_type": 2, "no_percent": 1},
        )

    def test_text_that_no_client_takes(self) -> None:
        """Half surrogate pairs, which Python graders write and no encoder takes, do not stop the rest."""
        self.ada.execute()
        job = self.take()
        job.say("INFO", {"\ud800": ["\udfff", {"a": "\ud83d"}]}, "half \ud83d pair")
        job.complete(score=1, comment="\udc80", meta={"\ud800": 1})
        self.world.run(2)
        self.assertEqual(self.ada.messages("INFO"), ["half ? pair"])
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "INFO", "COMPLETE"])
        self.assertEqual(self.world.webapp.rows[1].status, "graded")

    def test_data_nested_without_end(self) -> None:
        """Data nested deeper than anybody reads stops neither its own job nor the others."""
        self.ada.execute("evaluate")
        job = self.take()
        for depth in (90, 500, 900, 20_000):
            nested = b"[" * depth + b"]" * depth
            job.write(
                b'{"data_sequence_no":%d,"response_type":"INFO","data":%s}'
                % (job.order["data_sequence_no"], nested)
            )
        job.complete()
        self.world.run(2)
        self.assertEqual(self.ada.kinds()[-1], "COMPLETE")

    def test_numbers_in_data_are_the_participants(self) -> None:
        """Where a grader repeats its ``data_sequence_no`` in the data, the participant sees the request's."""
        self.ada.execute("evaluate", ["a", "b"], parallel=True)
        second = self.world.grader.take_all()[1]
        second.complete(data_sequence_no=second.order["data_sequence_no"])
        self.world.run(1)
        self.assertEqual(self.ada.events[-1]["data"], {"data_sequence_no": 1})
        self.assertEqual(self.ada.events[-1]["data_sequence_no"], 1)

    def test_numbers_inside_data_are_the_participants(self) -> None:
        """A repeated number is replaced at any depth, also where it is text; other numbers stay."""
        self.ada.execute("evaluate", ["a", "b"], parallel=True)
        second = self.world.grader.take_all()[1]
        given = second.order["data_sequence_no"]
        second.complete(
            parts=[{"data_sequence_no": given}, {"data_sequence_no": 5}],
            inner={"data_sequence_no": str(given), "other": given},
        )
        self.world.run(1)
        self.assertEqual(
            self.ada.events[-1]["data"],
            {
                "parts": [{"data_sequence_no": 1}, {"data_sequence_no": 5}],
                "inner": {"data_sequence_no": 1, "other": given},
            },
        )


class FloodTests(NodeCase):
    def test_flood_of_progress(self) -> None:
        """Of a flood ten events a second are relayed, the newest; the last before the end is there."""
        self.ada.execute("evaluate")
        job = self.take()
        times: list[float] = []
        for tick in range(200):
            for step in range(10):
                job.progress((tick * 10 + step) / 20)
            before = len(self.ada.events)
            self.world.run(0.02, 0.02)
            times += [self.world.clock.seconds()] * (len(self.ada.events) - before)
        job.progress(99.99)
        job.complete()
        self.world.run(1)
        percents = [event["data"]["percent_complete"] for event in self.ada.events[1:-1]]
        self.assertEqual(percents, sorted(percents))
        self.assertEqual(percents[-1], 99.99)
        for start in range(40):
            second = START + start / 10
            self.assertLessEqual(sum(second <= at < second + 1 for at in times), 11)
        self.assertGreater(len(times), 35)
        self.whole(self.ada)

    def test_last_progress_in_one_batch(self) -> None:
        """The last progress before a terminal event is relayed when all of it comes at once."""
        self.ada.execute("evaluate")
        job = self.take()
        for percent in range(40):
            job.progress(percent)
        job.say("INFO", message="half")
        for percent in range(40, 90):
            job.progress(percent)
        job.complete()
        job.progress(98)
        job.progress(99)
        self.assertLess(len(self.world.redis.lists["memory:responses:n1"]), BATCH)
        self.world.run(1)
        percents = [
            event["data"]["percent_complete"]
            for event in self.ada.events
            if event["data"].keys() == {"percent_complete"}
        ]
        self.assertEqual(percents, [0.0, 89.0])
        self.assertEqual(self.ada.kinds()[-2:], ["PROGRESS_UPDATE", "COMPLETE"])
        self.assertEqual(self.ada.messages("INFO"), ["half"])

    def test_last_progress_in_many_batches(self) -> None:
        """The last progress before a terminal event is relayed when each comes alone."""
        self.ada.execute("evaluate")
        job = self.take()
        for percent in (1, 2, 3):
            job.progress(percent)
            self.world.pump()
        job.complete()
        self.world.pump()
        self.assertEqual([e["data"].get("percent_complete") for e in self.ada.events[1:]], [1.0, 3.0, None])

    def test_held_progress_goes_when_its_time_comes(self) -> None:
        """A progress event that came too early is relayed without another event following it."""
        self.ada.execute("evaluate")
        job = self.take()
        job.progress(1)
        job.progress(2)
        self.world.pump()
        self.assertEqual(len(self.ada.events), 2)
        self.world.run(0.3, 0.1)
        self.assertEqual(self.ada.events[-1]["data"], {"percent_complete": 2.0})

    def test_held_progress_when_the_store_fails(self) -> None:
        """Held progress that could not be logged in time is logged when the store is back."""
        self.ada.execute("evaluate")
        job = self.take()
        job.progress(1)
        job.progress(2)
        self.world.pump()
        self.node.store.fail_next("move", "before")
        self.world.run(2, 0.1)
        self.assertEqual(self.ada.events[-1]["data"], {"percent_complete": 2.0})
        self.whole(self.ada)

    def test_no_limit(self) -> None:
        """A limit of 0 relays everything."""
        self.begin(a_config(limits=LimitsConfig(progress_per_second=0)))
        self.ada.execute("evaluate")
        job = self.take()
        for percent in range(50):
            job.progress(percent)
        self.world.pump()
        self.assertEqual(len(self.ada.events), 51)

    def test_jobs_do_not_share_a_limit(self) -> None:
        """The limit is one of each job: the progress of one is not thinned for another's."""
        self.ada.execute("evaluate", ["a", "b"], parallel=True)
        for job in self.world.grader.take_all():
            job.progress(5)
        self.world.pump()
        self.assertEqual(self.ada.kinds()[-2:], ["PROGRESS_UPDATE"] * 2)
