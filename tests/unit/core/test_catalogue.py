"""Which challenges there are, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import ChallengeTable
from crowdai_broker.core import catalogue as catalogues
from crowdai_broker.core.catalogue import Catalogue, refuse_if_closed
from crowdai_broker.core.webapp_model import ChallengeInfo, ChallengeLookup, Lookup, Round
from crowdai_broker.errors import PeerError
from crowdai_broker.testing import StubWebapp

from .world import START, a_config, result_of

NOW = datetime.fromtimestamp(START, UTC)
HOUR = timedelta(hours=1)


class CatalogueTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Know challenge ``Own`` from the operator's file and ``Web`` from the webapp."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(START)
        self.webapp = StubWebapp(self.clock.seconds)
        self.webapp.add_challenge("Web", config={"number": 7, "max_attempts": 5})
        own = ChallengeTable(values={"number": 28, "max_attempts": 2})
        self.config = a_config({"Own": own}, max_parallel_jobs=4)
        self.catalogue = Catalogue(self.clock, self.config, self.webapp)

    def refusal(self, name: str) -> str:
        """Return why a challenge is not known."""
        with self.assertRaises(PeerError) as caught:
            result_of(self.catalogue.get(name))
        return str(caught.exception)

    def test_from_the_webapp(self) -> None:
        """A challenge that only the webapp has is known, over the defaults; so is a new one at once."""
        found = result_of(self.catalogue.get("Web"))
        self.assertEqual((found.number, found.max_attempts, found.max_parallel_jobs), (7, 5, 4))
        self.assertEqual(self.refusal("New"), "Unrecognized Challenge: New")
        self.webapp.add_challenge("New")
        self.assertIsNone(result_of(self.catalogue.get("New")).number)

    def test_operator_wins(self) -> None:
        """The operator's own words win over the webapp's, and are enough where the webapp knows nothing."""
        self.assertEqual(result_of(self.catalogue.get("Own")).max_attempts, 2)
        self.webapp.add_challenge("Own", config={"max_attempts": 9, "max_parallel_jobs": 1})
        self.clock.advance(60)
        merged = result_of(self.catalogue.get("Own"))
        self.assertEqual((merged.max_attempts, merged.max_parallel_jobs), (2, 1))

    def test_webapp_without_the_endpoint(self) -> None:
        """Where the webapp has no such endpoint only the operator's file says which challenges there are."""

        async def unsupported(name: str) -> ChallengeLookup:
            return ChallengeLookup(Lookup.UNSUPPORTED)

        self.patch(self.webapp, "challenge_config", unsupported)
        self.assertEqual(result_of(self.catalogue.get("Own")).number, 28)
        self.assertIn("Unrecognized", self.refusal("Web"))

    def test_asked_once_a_minute(self) -> None:
        """What is known is not asked for again within a minute, and is the same object."""
        first = result_of(self.catalogue.get("Web"))
        self.clock.advance(59)
        self.assertIs(result_of(self.catalogue.get("Web")), first)
        self.clock.advance(1)
        result_of(self.catalogue.get("Web"))
        self.assertEqual(self.webapp.count("challenge_config"), 2)

    def test_stale_while_down(self) -> None:
        """What was known stays while the webapp is down, which is asked no more than every ten seconds."""
        result_of(self.catalogue.get("Web"))
        self.webapp.down = True
        self.clock.advance(3600)
        for _ in range(5):
            self.assertEqual(result_of(self.catalogue.get("Web")).max_attempts, 5)
        self.assertEqual(self.webapp.count("challenge_config"), 2)
        self.clock.advance(10)
        result_of(self.catalogue.get("Web"))
        self.assertEqual(self.webapp.count("challenge_config"), 3)
        self.assertEqual(result_of(self.catalogue.get("Own")).max_attempts, 2)

    def test_unknown_while_down(self) -> None:
        """Whether a challenge exists that nobody heard of cannot be said while the webapp is down."""
        self.webapp.down = True
        self.assertIn("cannot be checked right now", self.refusal("Web"))

    def test_bad_configuration(self) -> None:
        """Of a wrong configuration of the webapp the good keys are used, or what was good before."""
        self.webapp.add_challenge("Own", config={"max_attempts": "many", "nonsense": 1})
        self.assertEqual(result_of(self.catalogue.get("Own")).max_attempts, 2)
        self.webapp.add_challenge("New", config={"nonsense": 1, "functions": ["f"], "max_attempts": "many"})
        new = result_of(self.catalogue.get("New"))
        self.assertEqual((new.functions, new.max_attempts), (("f",), 3))
        result_of(self.catalogue.get("Web"))
        self.webapp.challenges["Web"].config = {"number": "seven"}
        self.clock.advance(60)
        self.assertEqual(result_of(self.catalogue.get("Web")).number, 7)

    def test_bounded(self) -> None:
        """No more challenges are kept than the bound, however many are asked for."""
        self.patch(catalogues, "MAX_REMEMBERED", 3)
        catalogue = Catalogue(self.clock, self.config, self.webapp)
        for number in range(9):
            self.webapp.add_challenge(f"C{number}")
            result_of(catalogue.get(f"C{number}"))
        self.assertEqual(len(catalogue._merged), 3)

    def test_rounds(self) -> None:
        """A challenge whose rounds are known is closed outside of them; without knowledge it is open."""
        own = result_of(self.catalogue.get("Own"))
        info = ChallengeInfo(id=28, rounds=(Round(id=1, end=NOW - HOUR),))
        self.webapp.add_challenge("Own", info=info)
        with self.assertRaises(PeerError) as caught:
            result_of(self.catalogue.refuse_outside_rounds("Own", own))
        self.assertIn("last round is over", str(caught.exception))
        self.webapp.down = True
        fresh = Catalogue(self.clock, self.config, self.webapp)
        result_of(fresh.refuse_outside_rounds("Own", own))

    def test_rounds_of_no_number(self) -> None:
        """Without a number nobody is asked; a perpetual challenge is always open."""
        web = result_of(self.catalogue.get("Web"))
        info = ChallengeInfo(id=7, perpetual=True, rounds=(Round(id=1, end=NOW - HOUR),))
        self.webapp.challenges["Web"].info = info
        result_of(self.catalogue.refuse_outside_rounds("Web", web))
        self.webapp.add_challenge("New")
        result_of(self.catalogue.refuse_outside_rounds("New", result_of(self.catalogue.get("New"))))
        self.assertEqual(self.webapp.count("challenge"), 1)


class ClosedTests(SynchronousTestCase):
    def refusal(self, *rounds: Round) -> str:
        """Return why it is closed now, "" if it is open."""
        try:
            refuse_if_closed(rounds, NOW)
        except PeerError as error:
            return str(error)
        return ""

    def test_open(self) -> None:
        """A round is open from its start to its end; without dates it is open always."""
        self.assertEqual(self.refusal(Round(id=1, start=NOW, end=NOW + HOUR)), "")
        self.assertEqual(self.refusal(Round(id=1)), "")
        self.assertEqual(self.refusal(Round(id=1, end=NOW), Round(id=2, start=NOW)), "")

    def test_closed(self) -> None:
        """Closed, it says when the next round opens, the earliest of them, or that there is none."""
        coming = [Round(id=n, start=NOW + n * HOUR) for n in (3, 1, 2)]
        self.assertIn("opens at 2017-07-14 03:40:00 UTC", self.refusal(*coming))
        self.assertIn("over", self.refusal(Round(id=1, start=NOW - HOUR, end=NOW)))
