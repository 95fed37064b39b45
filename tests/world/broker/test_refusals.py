"""What a participant is told when a request cannot be accepted: what is wrong, and what to do."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, ClassVar

import socketio

from .case import WorldCase
from .hands import JOB
from .participant import Participant
from .world import Plan

OPEN = "Open"
ROUNDS = "BetweenRounds"
OVER = "Over"
MODERN = "Modern"
LISTED = "OnlyInTheFile"


class RefusalTests(WorldCase):
    """Nothing is accepted, and the answer says why."""

    plan: ClassVar[Plan] = Plan(
        challenges={
            OPEN: {"functions": ["evaluate", "submit"], "max_parallel_jobs": 3},
            ROUNDS: {},
            OVER: {},
            MODERN: {"min_client_version": "1.1"},
            LISTED: {"number": None},
        },
        at_webapp={
            ROUNDS: {"rounds": [{"start_day": -9, "end_day": -2}, {"start_day": 2, "end_day": 9}]},
            OVER: {"rounds": [{"start_day": -9, "end_day": -2}]},
            LISTED: None,
        },
    )

    def assert_refused(self, participant: Participant, request: Any, *told: str) -> None:
        """An ``ERROR`` event on the channel, then the list with one object, both with the message."""
        execution = participant.send(request)
        ((item),) = execution.result()
        self.assertEqual(
            item,
            {
                "response_type": JOB + "ERROR",
                "job_id": "",
                "data_sequence_no": -1,
                "message": item["message"],
                "data": {},
            },
        )
        for text in told:
            self.assertIn(text, item["message"])
        if execution.channel:
            self.assertEqual(execution.kinds(), ["ERROR"])
            (event,) = execution.events
            self.assertEqual((event["message"], event["data_sequence_no"]), (item["message"], -1))

    def test_missing_parameters(self) -> None:
        """Each parameter that is missing is named."""
        participant = self.participant(OPEN)
        for name in ("response_channel", "api_key", "challenge_client_name", "function_name"):
            request = {key: value for key, value in participant.request("x").items() if key != name}
            self.assert_refused(participant, request, "Missing parameter", name)
        self.assert_refused(participant, participant.request(..., "evaluate"), "Missing parameter", "data")
        self.assertEqual(self.hands.lying(OPEN), 0)

    def test_wrong_types(self) -> None:
        """Each parameter of a wrong type is named."""
        participant = self.participant(OPEN)
        wrong: dict[str, Any] = {
            "api_key": 7,
            "challenge_client_name": ["x"],
            "function_name": {},
            "parallel": "perhaps",
            "dry_run": 3,
            "grader_id": 9,
            "idempotency_key": [],
        }
        for name, value in wrong.items():
            self.assert_refused(participant, participant.request("x", **{name: value}), name)

    def test_not_an_object(self) -> None:
        """A request that is no object is refused in the same shape."""
        participant = self.participant(OPEN)
        for argument in ("text", 7, ["list"]):
            (item,) = participant.call("execute_function", argument)
            self.assertEqual((item["response_type"], item["data"]), (JOB + "ERROR", {}))
            self.assertIn("object", item["message"])

    def test_empty_list(self) -> None:
        """There is nothing to grade in an empty list."""
        participant = self.participant(OPEN)
        for parallel in (True, False):
            self.assert_refused(participant, participant.request([], parallel=parallel), "empty")

    def test_parallel_needs_a_list(self) -> None:
        """``parallel`` with anything else is an error."""
        participant = self.participant(OPEN)
        for data in ("text", {"a": 1}, None):
            self.assert_refused(participant, participant.request(data, parallel=True), "list")

    def test_too_many_jobs(self) -> None:
        """More items than ``max_parallel_jobs``: both numbers."""
        participant = self.participant(OPEN)
        self.assert_refused(participant, participant.request([1] * 4, parallel=True), "4", "3")

    def test_unknown_function(self) -> None:
        """The challenge's functions are named."""
        participant = self.participant(OPEN)
        self.assert_refused(participant, participant.request("x", "dance"), "dance", "evaluate, submit")

    def test_foreign_grader(self) -> None:
        """A ``grader_id`` that the challenge does not allow is an error."""
        participant = self.participant(OPEN)
        self.assert_refused(participant, participant.request("x", grader_id="Somebody"), "Somebody")
        self.assertEqual(self.hands.lying("Somebody"), 0)

    def test_between_rounds(self) -> None:
        """A scored function outside a round is refused with the date of the next; others are not."""
        participant = self.participant(ROUNDS)
        opens = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
        self.assert_refused(participant, participant.request("x", "submit"), "not open", f"{opens:%Y-%m-%d}")
        execution = participant.execute("x", "evaluate")
        self.hands.take(ROUNDS).complete()
        execution.result()

    def test_after_the_last_round(self) -> None:
        """There is no next round: told so."""
        participant = self.participant(OVER)
        self.assert_refused(participant, participant.request("x", "submit"), "not open", "over")

    def test_without_a_session(self) -> None:
        """Without a token, and with one that nobody was given, the way out is told."""
        participant = self.participant(OPEN, authenticate=False)
        for token in (..., None, "guess"):
            request = participant.request("x", session_token=token)
            self.assert_refused(participant, request, "Not authenticated", "authenticate")

    def test_anothers_token(self) -> None:
        """A token with another participant's key is refused."""
        participant = self.participant(OPEN)
        request = participant.request("x", api_key=self.world.keys[1])
        self.assert_refused(participant, request, "another API key")

    def test_token_of_another_challenge(self) -> None:
        """A token is for its challenge alone; both are named."""
        participant = self.participant(OPEN)
        request = participant.request("x", challenge_client_name=ROUNDS)
        self.assert_refused(participant, request, OPEN, ROUNDS)

    def test_closed_session(self) -> None:
        """``close_session`` ends a token at once, on every socket, and twice is no error."""
        participant, other = self.participant(OPEN), self.participant(OPEN)
        other.token = participant.token
        self.assertEqual(participant.ask("close_session"), {"status": True, "message": ""})
        for each in (participant, other):
            self.assert_refused(each, each.request("x"), "Not authenticated")
        self.assertTrue(participant.ask("close_session")["status"])

    def test_reserved_channels(self) -> None:
        """A channel that clients use for themselves is refused, and nothing is sent on it."""
        participant = self.participant(OPEN)
        (item,) = participant.call(
            "execute_function", participant.request("x", response_channel="connect_error")
        )
        self.assertIn("connect_error", item["message"])

    def test_unknown_event(self) -> None:
        """An event that nobody knows harms nothing."""
        participant = self.participant(OPEN)
        participant.client.emit("no_such_event", {"a": 1})
        execution = participant.execute("x")
        self.hands.take(OPEN).complete()
        execution.result()

    # --- authenticate --------------------------------------------------------------------------------------

    def assert_turned_away(self, participant: Participant, *told: str, **changes: Any) -> None:
        """The event comes before the acknowledgement, both with the message and without a token."""
        participant.responses.clear()
        answer = participant.authenticate(**changes)
        (event,) = participant.responses
        self.assertEqual(answer, {**event, "job_state": "crowdai.job_state.ERROR"})
        self.assertEqual(set(event), {"response_type", "message"})
        self.assertEqual(event["response_type"], "CrowdAI.Event.Authentication.ERROR")
        for text in told:
            self.assertIn(text, event["message"])

    def test_authenticated(self) -> None:
        """The token comes in the event, before the acknowledgement, which holds the same object."""
        participant = self.participant(OPEN, authenticate=False)
        answer = participant.authenticate()
        (event,) = participant.responses
        self.world.secrets.add(participant.token)
        self.assertEqual(answer, {**event, "job_state": "crowdai.job_state.COMPLETE"})
        self.assertEqual(set(event), {"response_type", "message", "session_token"})
        self.assertEqual(event["response_type"], "CrowdAI.Event.Authentication.SUCCESS")
        self.assertGreaterEqual(len(event["session_token"]), 22)  # 128 bits in base64

    def test_tokens_are_not_stored(self) -> None:
        """Neither a token nor a participant's key is to be found in Redis outside accepted executions."""
        participant = self.participant(OPEN)
        for key in self.world.redis.scan_iter():
            self.assertNotIn(participant.token, key + str(self._value(key)))
            self.assertNotIn(participant.api_key, key)

    def _value(self, key: str) -> Any:
        kind = str(self.world.redis.type(key))
        read: dict[str, Callable[[str], Any]] = {
            "string": self.world.redis.get,
            "hash": self.world.redis.hgetall,
            "list": lambda name: self.world.redis.lrange(name, 0, -1),
            "set": self.world.redis.smembers,
            "zset": lambda name: self.world.redis.zrange(name, 0, -1),
            "stream": self.world.redis.xrange,
        }
        return read[kind](key)

    def test_wrong_key(self) -> None:
        """A key that nobody has is told without being repeated."""
        participant = self.participant(OPEN, authenticate=False)
        self.assert_turned_away(participant, "API key", API_KEY="nobodys")
        self.assertNotIn("nobodys", participant.responses[0]["message"])

    def test_unknown_challenge(self) -> None:
        """It is named, in the words that clients of the field look for."""
        participant = self.participant(OPEN, authenticate=False)
        self.assert_turned_away(participant, "Unrecognized Challenge: Nonsense", challenge_id="Nonsense")

    def test_only_in_the_operators_file(self) -> None:
        """A challenge that the webapp does not know is one all the same."""
        execution = self.participant(LISTED).execute("x")
        self.hands.take(LISTED).complete()
        execution.result()

    def test_missing_at_authentication(self) -> None:
        """What is missing is named."""
        participant = self.participant(OPEN, authenticate=False)
        self.assert_turned_away(participant, "Missing parameter", "API_KEY", API_KEY=None)
        self.assert_turned_away(participant, "Missing parameter", "challenge", challenge_id=None)

    def test_old_client(self) -> None:
        """A client older than the challenge allows is told which one it needs, and how to get it."""
        participant = self.participant(MODERN, authenticate=False)
        self.assert_turned_away(participant, "1.1", "1.0.22", "pip install -U crowdai")
        self.assert_turned_away(participant, "1.1", client_version=None)
        for version in ("1.1", "1.1.0", "1.10", "2.0.0rc1"):
            answer = participant.authenticate(client_version=version)
            self.assertEqual(answer["response_type"], "CrowdAI.Event.Authentication.SUCCESS", version)
            self.world.secrets.add(participant.token)

    def test_other_namespaces(self) -> None:
        """A namespace that nobody serves is refused, and the broker goes on."""
        client = socketio.Client(reconnection=False, handle_sigint=False)
        with self.assertRaises(socketio.exceptions.ConnectionError):
            client.connect(f"http://127.0.0.1:{self.broker().port}", namespaces=["/nowhere"])
        self.participant(OPEN)
