"""An execution's page and its picture."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import NOT_FOUND, OK, SERVICE_UNAVAILABLE
from twisted.web.test.requesthelper import DummyRequest

from crowdai_broker.core.model import JobState
from crowdai_broker.core.progress import JobProgress, Progress
from crowdai_broker.testing import MemoryRedis, MemoryStore
from crowdai_broker.web.progress import MOST_BARS, ProgressPages, picture
from tests.contracts.making import a_job, a_move, a_take, acceptance
from tests.unit.core.world import result_of


class ProgressPagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Store an execution ``ab`` whose first job has come half way; its key is ``p``."""
        self.store = MemoryStore(MemoryRedis(), "n1")
        result_of(self.store.accept(acceptance("ab", [a_job("ab"), a_job("ab", 1)])))
        result_of(self.store.take(a_take("1")))
        move = a_move("ab-0", to=JobState.RUNNING, fields={"percent": "50"})
        result_of(self.store.move([move], "n1", 1))
        self.pages = ProgressPages(Progress(self.store))

    def get(self, path: str, **args: str) -> Any:
        """Ask for something below ``/progress/``."""
        request: Any = DummyRequest(path.encode().split(b"/"))
        request.args = {name.encode(): [value.encode()] for name, value in args.items()}
        body = self.pages.render_GET(request)
        if isinstance(body, bytes):
            request.write(body)
        return request

    def status(self, request: Any) -> int:
        """Return the status that a request was answered with."""
        code: int = request.responseCode or OK
        return code

    def test_picture(self) -> None:
        """The picture shows each job, to whoever has the key."""
        request = self.get("ab.svg", key="p")
        text = b"".join(request.written).decode()
        self.assertEqual(self.status(request), OK)
        self.assertIn("job 0: running, 50 %; job 1: queued, 0 %", text)
        self.assertEqual(
            request.responseHeaders.getRawHeaders("content-type"), ["image/svg+xml; charset=utf-8"]
        )

    def test_nobody_else(self) -> None:
        """Without the key, with another or for no execution, the answer is the same."""
        answers = [
            self.get("ab.svg"),
            self.get("ab.svg", key="q"),
            self.get("cd.svg", key="p"),
            self.get("ab.svg", key="\udcff".encode("utf-8", "replace").decode()),
        ]
        self.assertEqual({self.status(request) for request in answers}, {NOT_FOUND})
        self.assertEqual(len({b"".join(request.written) for request in answers}), 1)

    def test_page(self) -> None:
        """The page is the same for every execution and loads only its own script and style."""
        pages = [self.get("ab"), self.get("cd")]
        self.assertEqual(pages[0].written, pages[1].written)
        self.assertNotIn(b"<script>", b"".join(pages[0].written))
        (policy,) = pages[0].responseHeaders.getRawHeaders("content-security-policy")
        self.assertIn("default-src 'none'", policy)
        for name in ("progress.js", "progress.css"):
            self.assertEqual(self.status(self.get(name)), OK)

    def test_nothing_else(self) -> None:
        """What is no execution's id is not looked for."""
        for path in ("", "..", "ab/cd", "AB", "x" * 65, "progress.html", "ab.svg/x"):
            self.assertEqual(self.status(self.get(path)), NOT_FOUND, path)

    def test_store_that_fails(self) -> None:
        """While the store does not answer, the picture is to be asked for later."""
        self.store.fail_next("execution", "before")
        request = self.get("ab.svg", key="p")
        self.assertEqual(self.status(request), SERVICE_UNAVAILABLE)
        self.assertEqual(request.responseHeaders.getRawHeaders("retry-after"), ["5"])

    def test_bounded(self) -> None:
        """Of very many jobs the first are drawn and the rest are counted."""
        text = picture([JobProgress(number, "queued", 0) for number in range(MOST_BARS + 7)])
        self.assertEqual(text.count("<rect"), 2 * MOST_BARS)
        self.assertIn("and 7 more", text)
