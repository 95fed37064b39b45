"""Sessions: what a token is good for, and for how long."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.requests import Authenticate
from crowdai_broker.core.sessions import Sessions, WrongKey, digest
from crowdai_broker.errors import PeerError
from crowdai_broker.testing import MemoryRedis, MemoryStore, StubWebapp

from .world import ADA, BOB, result_of

ASKED = Authenticate(ADA, "C", "1.0.22")


class SessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Know one participant."""
        super().setUp()
        self.clock = Clock()
        self.redis = MemoryRedis(self.clock.seconds)
        self.webapp = StubWebapp()
        self.webapp.participants = {ADA: 7}
        self.sessions = self.another()

    def another(self) -> Sessions:
        """Return another node's view of the same sessions."""
        return Sessions(self.clock, MemoryStore(self.redis), self.webapp, 100)

    def refusal(self, token: str, api_key: str | None = None) -> str:
        """Return why a token is not good for this."""
        with self.assertRaises(PeerError) as caught:
            result_of(self.sessions.check(token, api_key))
        return str(caught.exception)

    def test_token(self) -> None:
        """A token is good at every node for its participant, until its time is up."""
        token = result_of(self.sessions.open(ASKED))
        session = result_of(self.another().check(token, ADA))
        self.assertEqual((session.participant_id, session.challenge), (7, "C"))
        self.assertIn("another API key", self.refusal(token, BOB))
        self.clock.advance(100)
        self.assertIn("authenticate again", self.refusal(token))

    def test_tokens_are_long_and_new(self) -> None:
        """No two tokens are alike; each has at least 128 bits."""
        tokens = {result_of(self.sessions.open(ASKED)) for _ in range(50)}
        self.assertEqual(len(tokens), 50)
        self.assertGreaterEqual(min(map(len, tokens)) * 6, 128)
        self.assertEqual(set(self.redis.sessions), {digest(token) for token in tokens})

    def test_close(self) -> None:
        """A closed session is over at every node at once."""
        token = result_of(self.sessions.open(ASKED))
        self.assertTrue(result_of(self.another().close(token)))
        self.assertFalse(result_of(self.sessions.close(token)))
        self.refusal(token)

    def test_keys_are_believed_for_a_minute(self) -> None:
        """A good key is not asked about again within a minute; a wrong one is each time."""
        for _ in range(3):
            result_of(self.sessions.open(ASKED))
        self.assertEqual(self.webapp.count("participant"), 1)
        self.clock.advance(60)
        result_of(self.sessions.open(ASKED))
        self.assertEqual(self.webapp.count("participant"), 2)
        for _ in range(2):
            with self.assertRaises(WrongKey):
                result_of(self.sessions.open(Authenticate(BOB, "C", "")))
        self.assertEqual(self.webapp.count("participant"), 4)

    def test_webapp_down(self) -> None:
        """A key that cannot be checked opens nothing, and the refusal says so and holds no key."""
        self.webapp.down = True
        with self.assertRaises(PeerError) as caught:
            result_of(self.sessions.open(ASKED))
        self.assertNotIsInstance(caught.exception, WrongKey)
        self.assertIn("cannot be checked right now", str(caught.exception))
        self.assertNotIn(ADA, str(caught.exception))

    def test_any_text_has_a_digest(self) -> None:
        """A token of any text is unknown, not an error."""
        for token in ("", "\ud800", "x" * 100_000):
            self.assertIn("authenticate again", self.refusal(token))
