"""The participants' client in the field, ``crowdai`` 1.0.22, unchanged: it must work as it always did."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ..install import TOOLS_WANTED, install, only_one
from ..toolbox.places import CROWDAI, ROOT, TOOLS
from ..toolbox.process import running
from .case import WorldCase
from .programs import Program
from .world import Plan, World

SCRIPT = ROOT / "tests" / "world" / "broker" / "crowdai_participant.py"
SNP = "OpenSNPChallenge2017"
GENERIC = "FreshChallenge"
NARROW = "NarrowChallenge"
USED_UP = (
    r"^The participant has no submission slots remaining for today\."
    r".* \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
)
END = 40.0  # s that such a client may take: its start alone takes one


class OldClientTests(WorldCase):
    """Its own classes for challenges, its generic one, and the errors that it raises."""

    plan: ClassVar[Plan] = Plan(
        challenges={SNP: {"max_parallel_jobs": 3, "functions": ["submit", "evaluate"]}},
        at_webapp={GENERIC: {}, NARROW: {"rounds": [{"submission_limit": 1}]}},
    )

    @classmethod
    def begin(cls, world: World) -> None:
        """Have its client installed, and a grader there."""
        wanted = next(tool for tool in TOOLS_WANTED if tool.name == "crowdai")
        with only_one(TOOLS):
            install(wanted, TOOLS)
        super().begin(world)
        world.grader(SNP, "crowdAI_GRADER_POOL")

    def participate(
        self, challenge: str, call: str, *args: Any, key: str = "", **kwargs: Any
    ) -> dict[str, Any]:
        """Run the client's program; return its last line."""
        with running(Program([CROWDAI, SCRIPT])) as program:
            program.send(
                {
                    "host": "127.0.0.1",
                    "port": self.broker().port,
                    "api": self.world.webapp.api,
                    "challenge": challenge,
                    "key": key or self.world.keys[0],
                    "call": call,
                    "args": args,
                    "kwargs": kwargs,
                }
            )
            line = program.expect(END, saw="end")
            self.shown = "\n".join(str(each["text"]) for each in program.unread() if "text" in each)
            self.errors = program.errors()
        return line

    def raised(self, challenge: str, call: str, *args: Any, **kwargs: Any) -> tuple[str, str]:
        """Run it; return the class and the message of what its program caught."""
        line = self.participate(challenge, call, *args, **kwargs)
        self.assertNotIn("result", line)
        return line["raised"], line["message"]

    def test_submit(self) -> None:
        """A class of its own: ``submit`` returns the score, which is on the leaderboard."""
        result = self.participate(SNP, "submit", {"score": 0.25, "height": [1.7, 1.8]})["result"]
        self.assertEqual(result["score"], 0.25)
        self.assertEqual(result["job_state"], "CrowdAI.Event.Job.COMPLETE")
        self.assertEqual(result["message"], "Done")
        (row,) = self.world.webapp.settled(1, id=result["submission_id"])
        self.assertEqual((row["score"], row["posts"], row["patches"]), (0.25, 1, 1))
        self.assertIn("Half of the rows are read", self.shown)
        self.assertIn("100%", self.errors)

    def test_parallel(self) -> None:
        """Three items at once: three results, in the order of the items, and nothing on the leaderboard."""
        before = len(self.world.webapp.submissions())
        items = [{"score": score} for score in (0.1, 0.2, 0.3)]
        result = self.participate(SNP, "execute_function", "evaluate", items, parallel=True)["result"]
        self.assertEqual([one["score"] for one in result], [0.1, 0.2, 0.3])
        self.assertEqual(len(self.world.webapp.submissions()), before)

    def test_generic_upload(self) -> None:
        """Its generic class, for a challenge that only the webapp has: a file goes up, a score comes back."""
        path = Path(self.mktemp())
        path.write_bytes(b"id,answer\n" * 5_000)
        result = self.participate(GENERIC, "submit", str(path.absolute()))["result"]
        self.assertEqual(result["score"], 0.5)
        self.world.webapp.settled(1, id=result["submission_id"])
        self.assertEqual(self.world.webapp.state()["calls"]["upload"], 1)

    def test_2017_grader(self) -> None:
        """A grader of 2017 makes no difference to it."""
        result = self.participate(SNP, "submit", {"temper": "old", "score": 0.75})["result"]
        self.assertEqual((result["score"], result["job_state"]), (0.75, "CrowdAI.Event.Job.COMPLETE"))

    def test_broken_grader(self) -> None:
        """A grader that makes every mistake does not make it raise: no WAITING, nothing malformed."""
        result = self.participate(SNP, "submit", {"temper": "broken", "score": 0.7})["result"]
        self.assertEqual(result["score"], 0.7)

    def test_grader_error(self) -> None:
        """A grader's error is raised with its message, beyond ASCII too."""
        data = {"temper": "fails", "message": "Zeile 3: '€' ist keine Zahl 🙂"}
        self.assertEqual(
            self.raised(SNP, "submit", data),
            ("CrowdAIExecuteFunctionError", "Zeile 3: '€' ist keine Zahl 🙂"),
        )

    def test_wrong_key(self) -> None:
        """A wrong key is raised as one."""
        kind, message = self.raised(SNP, "submit", {}, key="no-such-key")
        self.assertEqual(kind, "CrowdAIAuthenticationError")
        self.assertIn("API key", message)
        self.assertNotIn("no-such-key", message)

    def test_unknown_challenge(self) -> None:
        """A challenge that nobody knows is named."""
        kind, message = self.raised("NoSuchChallenge", "submit", "file")
        self.assertEqual(
            (kind, message), ("CrowdAIAuthenticationError", "Unrecognized Challenge: NoSuchChallenge")
        )

    def test_unknown_function(self) -> None:
        """A function that the challenge does not have: those it has are named."""
        kind, message = self.raised(SNP, "execute_function", "dance", [{}])
        self.assertEqual(kind, "CrowdAIExecuteFunctionError")
        self.assertIn("dance", message)
        self.assertIn("submit, evaluate", message)

    def test_too_many(self) -> None:
        """More items than the challenge allows: both numbers are told."""
        kind, message = self.raised(SNP, "execute_function", "evaluate", [{}] * 4, parallel=True)
        self.assertEqual(kind, "CrowdAIExecuteFunctionError")
        self.assertRegex(message, "4 .*3 ")

    def test_used_up(self) -> None:
        """A used-up quota: the webapp's words, and when the next slot opens; no grader is bothered."""
        path = Path(self.mktemp())
        path.write_bytes(b"id\n")
        arguments = (NARROW, "submit", str(path.absolute()))
        self.assertEqual(self.participate(*arguments)["result"]["score"], 0.5)
        kind, message = self.raised(*arguments)
        self.assertEqual(kind, "CrowdAIExecuteFunctionError")
        self.assertRegex(
            message,
            USED_UP,
        )
