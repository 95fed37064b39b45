"""Tests of merging what is said about a challenge."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import ChallengeTable, ignored_secrets, merge_challenge
from crowdai_broker.errors import ConfigError

NOTHING = ChallengeTable()


def refused(case: SynchronousTestCase, config: Any) -> str:
    """Return the error that a configuration of the webapp causes."""
    found: ConfigError = case.assertRaises(ConfigError, merge_challenge, NOTHING, config, NOTHING, name="X")
    case.assertTrue(all(line.startswith("the webapp's configuration of X: ") for line in found.problems))
    return str(found)


class Merge(SynchronousTestCase):
    def test_the_operator_overrules_the_webapp_overrules_the_defaults(self) -> None:
        """Each key is decided by the strongest that sets it, also inside ``grader``."""
        merged = merge_challenge(
            ChallengeTable({"max_attempts": 1, "job_timeout": 1.0, "number": 1}, {"queue": "d"}),
            {"job_timeout": 2, "number": 2, "grader": {"queue": "w", "max_in_flight": 2}},
            ChallengeTable({"number": 3}, {"queue": "o"}),
        )
        self.assertEqual((merged.max_attempts, merged.job_timeout, merged.number), (1, 2.0, 3))
        self.assertEqual((merged.grader.queue, merged.grader.max_in_flight), ("o", 2))
        self.assertEqual(merged.max_parallel_jobs, 10)

    def test_a_webapp_that_says_nothing(self) -> None:
        """No configuration, an empty one and null keys leave what the operator says."""
        own = ChallengeTable({"max_attempts": 7})
        silent: list[dict[str, object] | None] = [None, {}, {"max_attempts": None, "grader": None}]
        for config in (*silent, {"grader": {"queue": None}}):
            self.assertEqual(merge_challenge(NOTHING, config, own).max_attempts, 7)

    def test_secrets_of_the_webapp_are_not_used(self) -> None:
        """A secret from there neither arrives nor keeps the challenge from working, and can be reported."""
        config: dict[str, object] = {
            "organizer_api_key": "hunter2",
            "max_attempts": 2,
            "grader": {"token": "hunter2", "queue": "q"},
        }
        merged = merge_challenge(NOTHING, config, NOTHING)
        self.assertFalse(merged.organizer_api_key or merged.grader.token)
        self.assertEqual((merged.max_attempts, merged.grader.queue), (2, "q"))
        self.assertEqual(ignored_secrets(config), ["organizer_api_key", "grader.token"])
        self.assertEqual(ignored_secrets(None) + ignored_secrets({"grader": 3}), [])

    def test_the_webapp_cannot_read_our_files_or_environment(self) -> None:
        """A reference from there is refused, in every place where one could stand."""
        for config in (
            {"min_client_version": {"env": "HOME"}},
            {"functions": [{"env": "HOME"}]},
            {"grader": {"url": {"file": "broker.toml"}}},
            {"grader": {"env": "HOME"}},
        ):
            self.assertIn(next(iter(config)), refused(self, config))

    def test_what_the_webapp_sends_is_checked(self) -> None:
        """Each wrong key is named: the caller then keeps the configuration it had."""
        for config, key in (
            ({"max_attempt": 1}, "max_attempt: is not known"),
            ({"max_attempts": "3"}, "max_attempts: must be a whole number"),
            ({"max_attempts": 0}, "max_attempts: must be at least 1"),
            ({"grader": {"kind": "http"}}, "grader.url: is needed"),
            ({"grader": {"kind": "socketio"}}, "grader.token: is needed"),
            ({"grader": {"redis_url": "redis://:pw@h"}}, "grader.redis_url: must not hold a password"),
            ({"grader": {"redis_url": "embedded:"}}, "grader.redis_url: must name a server"),
            ({"grader": 3}, "grader: must be a table"),
            ([], "must be an object"),
        ):
            self.assertIn(key, refused(self, config))
        self.assertNotIn("pw", refused(self, {"grader": {"redis_url": "redis://:pw@h"}}).split("password")[0])

    def test_a_token_in_the_file_serves_a_kind_from_the_webapp(self) -> None:
        """The webapp may choose the kind of grader; the operator gives the secret it needs."""
        own = ChallengeTable({}, {"token": "t"})
        self.assertEqual(
            merge_challenge(NOTHING, {"grader": {"kind": "socketio"}}, own).grader.kind, "socketio"
        )
