"""The programs of ``examples/`` do what the documents say, against a broker that runs."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from shutil import copy, rmtree
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from crowdai_broker.demo.children import Child
from crowdai_broker.demo.world import EARLY, DemoWorld, free_port

from .toolbox.node import find_node
from .toolbox.places import CROWDAI, NODE_MODULES, ROOT, THIS_PYTHON

reactor: Any = real_reactor
EXAMPLES = ROOT / "examples"
MEAN = "MeanChallenge"
PATIENCE = 60  # s for one program


class ExampleTests(TestCase):
    """Each program, run as its head says."""

    timeout = 120

    async def start(self) -> None:
        """Have a demo's world, with one challenge more that no grader grades yet."""
        self.directory = Path(tempfile.mkdtemp(prefix="examples-"))
        self.addCleanup(rmtree, self.directory, ignore_errors=True)
        self.world = DemoWorld(reactor, self.directory, free_port(None), seconds=0.2)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.world.stop()))
        await self.world.start()
        self.world.webapp.state.add_challenge(3, MEAN)

    async def run_example(self, *command: str | Path) -> str:
        """Run a program to its end; return what it said, and fail if it failed."""
        program, *arguments = map(str, command)
        running = getProcessOutputAndValue(program, arguments, env=dict(os.environ), reactor=reactor)
        out, err, status = await running.addTimeout(PATIENCE, reactor)
        said = f"{out.decode()}{err.decode()}"
        self.assertEqual(status, 0, said)
        return said

    def javascript(self, client: str) -> Path:
        """Return the JavaScript example, put where ``socket.io-client`` is the client of that name."""
        place = self.directory / client
        (place / "node_modules").mkdir(parents=True)
        (place / "node_modules" / "socket.io-client").symlink_to(NODE_MODULES / client)
        return Path(copy(EXAMPLES / "participant.js", place))

    async def test_participants(self) -> None:
        """Every kind of client submits, sees the events and gets the score, all at the same time."""
        await self.start()
        host, port = "127.0.0.1", self.world.url.rpartition(":")[2]
        url, key, node = self.world.url, self.world.api_key, find_node().program
        old = EXAMPLES / "participant_socketio_client_2.py"
        runs = {
            "python-socketio": (THIS_PYTHON, EXAMPLES / "participant.py", url, EARLY, key),
            "crowdai": (CROWDAI, EXAMPLES / "participant_crowdai.py", host, port, key),
            "socketIO-client-2": (CROWDAI, old, host, port, EARLY, key),
            **{
                client: (node, self.javascript(client), url, EARLY, key)
                for client in ("socket.io-client-4", "socket.io-client-3", "socket.io-client-2")
            },
        }
        working = [Deferred.fromCoroutine(self.run_example(*run)) for run in runs.values()]
        for client, said in zip(runs, await gatherResults(working), strict=True):
            self.assertIn("CrowdAI.Event.Job.COMPLETE", said, client)
            self.assertIn("off by about 820 g", said, client)

    async def test_refused(self) -> None:
        """A wrong key ends the program with the broker's message."""
        await self.start()
        run = self.run_example(THIS_PYTHON, EXAMPLES / "participant.py", self.world.url, EARLY, "wrong")
        with self.assertRaises(self.failureException) as caught:
            await run
        self.assertIn("The API key did not match any participant record.", str(caught.exception))

    async def test_evaluator(self) -> None:
        """The example evaluator grades a sample without a broker, and says what is wrong with a bad one."""
        directory = Path(tempfile.mkdtemp(prefix="examples-"))
        self.addCleanup(rmtree, directory)
        sample = directory / "predictions.txt"
        sample.write_text("2.1\n3.3\n5.0\n8.0\n")
        command = (THIS_PYTHON.with_name("crowdai-broker"), "grade", "examples.evaluator:evaluate", "--try")
        said = await self.run_example(*command, sample)
        self.assertIn('{"score": 0.2738612787525831, "comment": "On average **0.27** off."}', said)
        sample.write_text("2.1")
        with self.assertRaises(self.failureException) as caught:
            await self.run_example(*command, sample)
        self.assertIn("4 numbers are needed, one a line; your file has 1.", str(caught.exception))

    async def test_grader_and_resume(self) -> None:
        """The grader's example grades, and an execution can be followed again after its end."""
        await self.start()
        grader = Child(reactor, "the example's grader")
        grader.start([str(EXAMPLES / "grader.py"), self.world.redis.url, MEAN])
        self.addCleanup(lambda: Deferred.fromCoroutine(grader.stop()))
        common = (self.world.url, MEAN, self.world.api_key)
        said = await self.run_example(THIS_PYTHON, EXAMPLES / "participant.py", *common)
        self.assertIn("'score': 4200.0, 'comment': 'the mean'", said)
        found = re.search(r"'execution_id': '([0-9a-f]+)'", said)
        assert found is not None, said
        again = await self.run_example(THIS_PYTHON, EXAMPLES / "resume.py", *common, found[1])
        self.assertIn("CrowdAI.Event.Job.ENQUEUED", again)
        self.assertIn("'score': 4200.0, 'comment': 'the mean'", again)
