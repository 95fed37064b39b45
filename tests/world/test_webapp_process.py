"""The small webapp as a process of its own, driven over HTTP alone."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import msgspec
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from crowdai_broker.demo.webapp_files import MAX_FILE

KEY = "key-of-ada"


class _Output(ProcessProtocol):
    """Waits for the first line of a process, and for its end."""

    def __init__(self) -> None:
        self.line: Deferred[str] = Deferred()
        self.ended: Deferred[int | None] = Deferred()
        self._out = b""

    def outReceived(self, data: bytes) -> None:
        """Take the first line."""
        self._out += data
        if b"\n" in self._out and not self.line.called:
            self.line.callback(self._out.partition(b"\n")[0].decode())

    def processEnded(self, reason: Failure) -> None:
        """Tell how it ended."""
        ended: Any = reason.value
        self.ended.callback(ended.exitCode)


class ProcessTests(TestCase):
    """One process a test."""

    async def start(self, *options: str) -> str:
        """Start it; return its address."""
        self.output = _Output()
        command = [sys.executable, "-m", "crowdai_broker.demo.webapp", "--port", "0", "--print-port"]
        command += [
            "--api-key",
            "broker",
            "--participant",
            f"Ada={KEY}",
            "--challenge",
            "7=Penguins",
            *options,
        ]
        self.process: Any = reactor.spawnProcess(self.output, command[0], command, env=os.environ)
        self.addCleanup(self.stop)
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.http = treq.client.HTTPClient(Agent(reactor, pool=pool))
        return f"http://127.0.0.1:{await self.output.line}"

    async def stop(self) -> None:
        """Stop it as an operator does, and see that it ends well."""
        self.process.signalProcess(signal.SIGTERM)
        self.assertEqual(await self.output.ended, 0)

    async def call(self, method: str, url: str, content: Any = None, key: str = "broker") -> tuple[int, Any]:
        """Return status and body of a call."""
        data = msgspec.json.encode(content) if content is not None else None
        headers: Any = {"Authorization": f'Token token="{key}"', "Content-Type": "application/json"}
        response = await self.http.request(method, url, data=data, headers=headers)
        body = await response.content()
        return response.code, msgspec.json.decode(body) if body.startswith((b"{", b"[")) else body

    async def test_a_file_and_a_grade(self) -> None:
        """A file goes up through its presigned address and comes down by its key; a score is led."""
        url = await self.start()
        status, given = await self.call("GET", f"{url}/api/external_graders/{KEY}/presign", key="")
        self.assertEqual((status, given["message"]), (200, "Presigned url generated"))
        content = b"species\n" * 50_000
        response = await self.http.put(given["presigned_url"], data=content)
        self.assertEqual(response.code, 200)
        response = await self.http.put(f"{url}/files/{given['s3_key']}?signature=guess", data=b"x")
        self.assertEqual(response.code, 403)
        response = await self.http.get(f"{url}/files/{given['s3_key']}")
        self.assertEqual(await response.content(), content)
        fields = {
            "api_key": KEY,
            "challenge_client_name": "Penguins",
            "grading_status": "graded",
            "score": 0.9,
        }
        status, made = await self.call("POST", f"{url}/api/external_graders", fields)
        self.assertEqual((status, made["submission_id"]), (202, 1))
        status, board = await self.call("GET", f"{url}/leaderboards/Penguins", key="")
        self.assertEqual((status, board["leaderboard"][0]["score"]), (200, 0.9))
        _, front = await self.call("GET", f"{url}/", key="")
        self.assertIn(b"Ada", front)

    async def test_presign_of_nobody(self) -> None:
        """Nobody's key gets no address."""
        url = await self.start()
        status, given = await self.call("GET", f"{url}/api/external_graders/none/presign", key="")
        self.assertEqual((status, given["presigned_url"]), (404, None))

    async def test_too_large_a_file(self) -> None:
        """A file beyond the limit is not taken in."""
        url = await self.start()
        _, given = await self.call("GET", f"{url}/api/external_graders/{KEY}/presign", key="")
        with self.assertRaises(Exception):  # noqa: B017 - however the connection's end shows
            await self.http.put(given["presigned_url"], data=b" " * (MAX_FILE + 1))
        status, _ = await self.call("GET", f"{url}/files/{given['s3_key']}")
        self.assertEqual(status, 404)

    async def test_control(self) -> None:
        """Faults are planned, met, counted and cleared from another process."""
        url = await self.start("--control")
        faults = f"{url}/_control/faults"
        status, _ = await self.call("POST", faults, {"call": "participant", "fault": "error", "times": 2})
        self.assertEqual(status, 200)
        statuses = [(await self.call("GET", f"{url}/api/external_graders/{KEY}"))[0] for _ in range(3)]
        self.assertEqual(statuses, [500, 500, 200])
        await self.call("POST", faults, {"call": "participant", "fault": "empty", "always": True})
        self.assertEqual((await self.call("GET", f"{url}/api/external_graders/{KEY}"))[0], 502)
        await self.call("DELETE", faults)
        await self.call("POST", faults, {"call": "participant", "fault": "missing", "probability": 1.0})
        self.assertEqual((await self.call("GET", f"{url}/api/external_graders/{KEY}"))[0], 404)
        for wrong in ({"call": "nothing", "fault": "drop"}, {"call": "grade", "fault": "bad"}, {"x": 1}):
            self.assertEqual((await self.call("POST", faults, wrong))[0], 400)
        status, state = await self.call("GET", f"{url}/_control/state")
        self.assertEqual((status, state["calls"], state["submissions"]), (200, {"participant": 5}, []))
        self.assertEqual(state["faults"]["participant/error"], 2)
        self.assertEqual((await self.call("POST", f"{url}/_control/release"))[1], {"released": 0})

    async def test_no_control_unless_asked_for(self) -> None:
        """Without the flag there is nothing to control."""
        url = await self.start()
        self.assertEqual((await self.call("GET", f"{url}/_control/state"))[0], 404)

    async def test_wrong_requests(self) -> None:
        """A broken body, no key, and no such page are answered as Rails answers them."""
        url = await self.start()
        headers: Any = {"Authorization": "Token token=broker", "Content-Type": "application/json"}
        response = await self.http.post(f"{url}/api/external_graders", data=b"{", headers=headers)
        self.assertEqual(response.code, 400)
        status, body = await self.call("GET", f"{url}/api/external_graders/{KEY}", key="wrong")
        self.assertEqual((status, body), (401, b"HTTP Token: Access denied.\n"))
        self.assertEqual((await self.call("GET", f"{url}/nowhere"))[0], 404)
        self.assertEqual((await self.call("DELETE", f"{url}/api/external_graders/1"))[0], 404)
        status, body = await self.call("GET", f"{url}/api/challenges/7/submissions")
        self.assertEqual(status, 401)
        self.assertIn("not authorized", body["message"])
