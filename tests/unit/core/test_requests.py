"""Participants' requests are believed only after they were read."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core import requests
from crowdai_broker.errors import PeerError

from .json_values import few, objects, values

NAMES = (
    "response_channel", "session_token", "api_key", "API_KEY", "challenge_id", "challenge_client_name",
    "function_name", "data", "dry_run", "parallel", "grader_id", "idempotency_key", "client_version",
    "execution_id", "after_event_no",
)  # fmt: skip
READERS = (
    requests.read_authenticate,
    requests.read_execute_function,
    requests.read_resume,
    requests.read_status,
    requests.read_cancel,
    lambda args: requests.read_session_token(args, "close_session"),
)
WHOLE = {
    "response_channel": "C::1",
    "session_token": "t",
    "api_key": "k",
    "challenge_id": "C",
    "function_name": "f",
    "data": {"a": 1},
}


class ReadExecuteTests(SynchronousTestCase):
    def read(self, **fields: Any) -> requests.ExecuteFunction:
        """Read a whole request changed by ``fields``."""
        return requests.read_execute_function([WHOLE | fields])

    def refused(self, **fields: Any) -> str:
        """Return what a refused request's sender is told."""
        with self.assertRaises(PeerError) as caught:
            self.read(**fields)
        return str(caught.exception)

    def test_whole(self) -> None:
        """A request of the public client is read as it is meant."""
        request = self.read(dry_run=False, parallel=False)
        self.assertEqual((request.challenge, request.function_name, request.items), ("C", "f", ({"a": 1},)))
        self.assertEqual((request.grader_id, request.idempotency_key), ("", ""))

    def test_generic_client(self) -> None:
        """The client's generic class names the challenge and its pool of graders otherwise."""
        request = requests.read_execute_function(
            [
                {k: v for k, v in WHOLE.items() if k != "challenge_id"}
                | {"challenge_client_name": "D", "grader_id": "crowdAI_GRADER_POOL"}
            ]
        )
        self.assertEqual((request.challenge, request.grader_id), ("D", "crowdAI_GRADER_POOL"))
        self.assertEqual(self.read(grader_id=False).grader_id, "")

    def test_data_becomes_jobs(self) -> None:
        """A list is one job an item where parallel, its only item or one job as a whole where not."""
        for parallel in (True, "true"):
            self.assertEqual(self.read(data=[1, 2], parallel=parallel).items, (1, 2))
        for serial in (False, "false", None):
            self.assertEqual(self.read(data=[1], parallel=serial).items, (1,))
            self.assertEqual(self.read(data=[1, 2], parallel=serial).items, ([1, 2],))
            self.assertEqual(self.read(data=None, parallel=serial).items, (None,))
        self.assertIn("list", self.refused(data={"a": 1}, parallel=True))
        for parallel in (True, False):
            self.assertIn("empty list", self.refused(data=[], parallel=parallel))

    def test_what_is_missing_is_named(self) -> None:
        """A missing or null parameter is named, and the token's absence says what to do."""
        for name in WHOLE:
            left = {key: value for key, value in WHOLE.items() if key != name}
            with self.assertRaises(PeerError) as caught:
                requests.read_execute_function([left])
            hint = "send 'authenticate' first" if name == "session_token" else name
            self.assertIn(hint, str(caught.exception))
        self.assertIn("Missing parameter: function_name", self.refused(function_name=None))

    def test_wrong_values_are_named(self) -> None:
        """A parameter of a wrong type, empty, too long or no text is named."""
        no_names: list[Any] = [1, [], {}, True, "", "  ", "x" * (requests.MAX_NAME + 1), "\ud800"]
        for wrong in no_names:
            self.assertIn("function_name", self.refused(function_name=wrong))
        no_flags: list[Any] = [1, "yes", [], {}]
        for wrong in no_flags:
            self.assertIn("parallel", self.refused(parallel=wrong))
            self.assertIn("dry_run", self.refused(dry_run=wrong))
        self.assertEqual(len(self.read(function_name="x" * requests.MAX_NAME).function_name), 256)

    def test_reserved_channels(self) -> None:
        """A channel with the name of an event that clients give a meaning of their own is refused."""
        for name in requests.RESERVED_CHANNELS:
            self.assertIn("reserved", self.refused(response_channel=name))
            self.assertEqual(requests.channel_of([WHOLE | {"response_channel": name}]), "")

    def test_channel_of_a_bad_request(self) -> None:
        """A request that is wrong otherwise is answered on its channel, if it has a usable one."""
        self.assertEqual(requests.channel_of([{"response_channel": "C::1", "data": []}]), "C::1")
        without: list[list[Any]] = [
            [], ["x"], [{}], [{"response_channel": 3}], [{"response_channel": "x" * 300}],
        ]  # fmt: skip
        for args in without:
            self.assertEqual(requests.channel_of(args), "")


class ReadOthersTests(SynchronousTestCase):
    def test_one_object(self) -> None:
        """Whatever is not one object is refused, with the event's name."""
        wrong: list[list[Any]] = [[], [1], ["x"], [[]], [{}, {}], [None]]
        for args in wrong:
            for reader in READERS:
                self.assertRaises(PeerError, reader, args)

    def test_authenticate(self) -> None:
        """A key and a challenge open a session, under the old names and the new."""
        asked = requests.read_authenticate([{"API_KEY": " k ", "challenge_id": "C", "client_version": None}])
        self.assertEqual(asked, requests.Authenticate("k", "C", ""))
        asked = requests.read_authenticate([{"api_key": "k", "challenge_client_name": "C"}])
        self.assertEqual(asked.challenge, "C")

    def test_resume(self) -> None:
        """Events are asked for from a number on, which is one of an event or 0."""
        which = {"session_token": "t", "execution_id": "e"}
        self.assertEqual(requests.read_resume([which]).after_event_no, 0)
        self.assertEqual(requests.read_resume([which | {"after_event_no": 7}]).after_event_no, 7)
        self.assertEqual(requests.read_resume([which | {"after_event_no": None}]).after_event_no, 0)
        for wrong in (-1, 1.5, "1", True, 1 << 53):
            self.assertRaises(PeerError, requests.read_resume, [which | {"after_event_no": wrong}])

    def test_status(self) -> None:
        """A receipt is asked for by id or by key, one of them."""
        by_key = requests.read_status([{"session_token": "t", "idempotency_key": "k"}])
        self.assertEqual((by_key.execution_id, by_key.idempotency_key), ("", "k"))
        self.assertRaises(PeerError, requests.read_status, [{"session_token": "t"}])

    @few
    @given(args=st.lists(objects(*NAMES) | values, max_size=2))
    def test_anything(self, args: list[Any]) -> None:
        """No request, whatever it holds, is answered otherwise than by a refusal."""
        for reader in READERS:
            try:
                reader(args)
            except PeerError as error:
                self.assertTrue(str(error))
        channel = requests.channel_of(args)
        self.assertLessEqual(len(channel), requests.MAX_NAME)

    @few
    @given(name=st.sampled_from(NAMES), value=values)
    def test_any_value_in_any_field(self, name: str, value: Any) -> None:
        """One strange member in a request that is whole otherwise is refused or read, no more."""
        request = WHOLE | {"execution_id": "e", "API_KEY": "k", name: value}
        for reader in READERS:
            try:
                reader([request])
            except PeerError as error:
                self.assertTrue(str(error))
