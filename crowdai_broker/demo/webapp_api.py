"""The small webapp's calls: what each answers, as plain functions from a request to a reply."""

from __future__ import annotations

import hmac
import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from .webapp_files import UploadedFiles
from .webapp_records import NO_CHALLENGE, Challenge, Refusal, Round, Submission
from .webapp_state import Params, WebappState

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
NO_SUCH_PARTICIPANT = "No participant could be found for this API key"


class Call(Struct, frozen=True):
    """A request: its parameters are query, form and JSON body together, as Rails has them.

    :ivar args: what the path matched.
    :ivar token: the key of its ``Authorization``, ``""`` without one.
    """

    args: tuple[str, ...]
    token: str
    params: Params
    body: bytes = b""


class Reply(Struct, frozen=True):
    """An answer to be sent."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = {}


DENIED = Reply(
    401,
    b"HTTP Token: Access denied.\n",
    "text/plain; charset=utf-8",
    {"WWW-Authenticate": 'Token realm="Application"'},
)


def reply(status: int, content: Any) -> Reply:
    """Return a reply of JSON."""
    return Reply(status, msgspec.json.encode(content))


def page(status: int, title: str) -> Reply:
    """Return a page, as a web server gives for what its application did not answer."""
    text = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Reply(status, text.encode(), HTML)


def iso(seconds: float) -> str:
    """Write a time as Rails does in JSON: ``2017-10-30T06:02:02.000Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def round_json(given: Round, challenge_id: int) -> dict[str, Any]:
    """Return a round as the API shows it."""
    return {
        "id": given.id,
        "challenge_id": challenge_id,
        "challenge_round": given.name,
        "active": given.active,
        "submission_limit": given.submission_limit,
        "submission_limit_period_cd": given.submission_limit_period,
        "start_dttm": iso(given.start),
        "end_dttm": iso(given.end),
        "failed_submissions": given.failed_submissions,
        "parallel_submissions": given.parallel_submissions,
        "minimum_score": given.minimum_score,
    }


def submission_json(row: Submission) -> dict[str, Any]:
    """Return a submission as the API shows it."""
    return {
        "id": row.id,
        "challenge_id": row.challenge_number,
        "participant_id": row.participant_id,
        "challenge_round_id": row.round_id,
        "grading_status_cd": row.grading_status,
        "grading_message": row.grading_message,
        "score": row.score,
        "score_secondary": row.score_secondary,
        "description_markdown": row.description_markdown,
        "meta": row.meta,
        "created_at": iso(row.created_at),
        **{name: row.media.get(name) for name in ("media_large", "media_thumbnail", "media_content_type")},
    }


class Api:
    """Answers the calls.

    :param api_key: the key of the broker (``CROWDAI_API_KEY`` of the real webapp).
    :param base_url: where presigned addresses point; known once the port is.
    """

    def __init__(self, state: WebappState, files: UploadedFiles, api_key: str) -> None:
        self.state = state
        self.files = files
        self.base_url = ""
        self.api_key = api_key

    # --- who asks -------------------------------------------------------------------------------------

    def _is_broker(self, call: Call) -> bool:
        return hmac.compare_digest(call.token.encode(), self.api_key.encode())

    def _is_known(self, call: Call) -> bool:
        return self._is_broker(call) or self.state.is_organizer(call.token)

    # --- external graders -----------------------------------------------------------------------------

    def participant(self, call: Call) -> Reply:
        """``GET /api/external_graders/<participant key>``."""
        if not self._is_known(call):
            return DENIED
        found = self.state.participant(call.args[0])
        if found is None:
            return reply(404, {"message": NO_SUCH_PARTICIPANT, "participant_id": None})
        return reply(200, {"message": "Developer API key is valid", "participant_id": found.id})

    def challenge_config(self, call: Call) -> Reply:
        """``GET /api/external_graders/challenge_config?challenge_client_name=``."""
        if not self._is_known(call):
            return DENIED
        found = self.state.challenge_named(call.params.get("challenge_client_name"))
        if found is None:
            return reply(400, {"message": NO_CHALLENGE, "config": None})
        return reply(200, {"message": f"Configuration for {found.client_name}", "config": found.config})

    def register(self, call: Call) -> Reply:
        """``POST /api/external_graders``: each one that succeeds makes a submission."""
        challenge = self.state.challenge_named(call.params.get("challenge_client_name"))
        if not (self._is_broker(call) or (challenge and call.token == challenge.organizer_api_key)):
            return DENIED
        try:
            made, name = self.state.create(call.params)
        except Refusal as refusal:
            content: dict[str, Any] = {"message": str(refusal), "submission_id": None}
            content |= {"submissions_remaining": refusal.remaining, "reset_dttm": refusal.reset}
            return reply(400, content)
        remaining, reset = self._slots(made)
        content = {"message": f"Participant {name} scored", "submission_id": made.id}
        return reply(202, content | {"submissions_remaining": remaining, "reset_dttm": reset})

    def grade(self, call: Call) -> Reply:
        """``PATCH /api/external_graders/<submission id>``; its id comes back as a string."""
        if not self._is_known(call):
            return DENIED
        content: dict[str, Any] = {"submission_id": call.args[0]}
        try:
            changed = self.state.update(call.args[0], call.params)
        except Refusal as refusal:
            content |= {"message": str(refusal), "submissions_remaining": None, "reset_date": None}
            return reply(400, content)
        remaining, reset = self._slots(changed)
        content |= {"message": f"Submission {changed.id} updated"}
        return reply(202, content | {"submissions_remaining": remaining, "reset_date": reset})

    def _slots(self, row: Submission) -> tuple[int, str | None]:
        return self.state.slots(self.state.challenges[row.challenge_number], row.participant_id)

    def submission_info(self, call: Call) -> Reply:
        """``GET /api/external_graders/<submission id>/submission_info``; ``body`` is a string of JSON."""
        if not self._is_known(call):
            return DENIED
        try:
            found = self.state.find(call.args[0])
        except Refusal as refusal:
            return reply(400, {"message": str(refusal), "body": None})
        body = msgspec.json.encode(submission_json(found)).decode()
        return reply(200, {"message": "Submission details found.", "body": body})

    # --- challenges -----------------------------------------------------------------------------------

    def challenge(self, call: Call) -> Reply:
        """``GET /api/challenges/<number>``, with its rounds."""
        if not self._is_broker(call):
            return DENIED
        found = self.state.challenges.get(int(call.args[0]))
        if found is None:
            return reply(404, {"message": "No challenge could be found for this ID"})
        shown = {
            "id": found.number,
            "challenge": found.title,
            "status_cd": found.status,
            "primary_sort_order_cd": found.primary_sort_order,
            "perpetual_challenge": found.perpetual,
            "grading_factor": found.grading_factor,
            "challenge_rounds": [round_json(each, found.number) for each in found.rounds],
        }
        return reply(200, {"message": shown})

    def submissions(self, call: Call) -> Reply:
        """``GET /api/challenges/<number>/submissions``, for its organizer only."""
        found = self.state.challenges.get(int(call.args[0]))
        if found is None or call.token != found.organizer_api_key:
            message = "The organizer is not authorized to access the requested challenge_id"
            return reply(401, {"message": message})
        status, after = call.params.get("grading_status"), call.params.get("after")
        listed = [submission_json(each) for each in self.state.of_challenge(found.number)]
        if status:
            listed = [each for each in listed if each["grading_status_cd"] == status]
        if after:
            since = datetime.fromisoformat(str(after))
            listed = [each for each in listed if datetime.fromisoformat(each["created_at"]) >= since]
        return reply(200, listed)

    # --- files ----------------------------------------------------------------------------------------

    def presign(self, call: Call) -> Reply:
        """``GET /api/external_graders/<participant key>/presign``, without any other key."""
        found = self.state.participant(call.args[0])
        if found is None:
            empty = {"participant_id": None, "s3_key": None, "presigned_url": None}
            return reply(404, {"message": NO_SUCH_PARTICIPANT, **empty})
        key, signature = self.files.presign()
        url = f"{self.base_url}/files/{key}?signature={signature}"
        content = {"message": "Presigned url generated", "participant_id": found.id}
        return reply(200, content | {"s3_key": key, "presigned_url": url})

    def upload(self, call: Call) -> Reply:
        """``PUT <presigned_url>``: the file is the body."""
        if self.files.put(call.args[0], str(call.params.get("signature", "")), call.body):
            return Reply(200, b"", "text/plain")
        return Reply(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>", "application/xml")

    def download(self, call: Call) -> Reply:
        """``GET /files/<file key>``, for graders."""
        content = self.files.get(call.args[0])
        if content is None:
            return Reply(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        return Reply(200, content, "application/octet-stream")

    # --- for people -----------------------------------------------------------------------------------

    def leaderboard(self, call: Call) -> Reply:
        """``GET /leaderboards/<client name>``, as JSON."""
        found = self.state.challenge_named(call.args[0])
        if found is None:
            return reply(404, {"message": NO_CHALLENGE})
        return reply(200, {"challenge": found.title, "leaderboard": self.state.leaderboard(found)})

    def front_page(self, _call: Call) -> Reply:
        """``GET /``: every leaderboard on one page."""
        tables = "".join(self._table(each) for each in self.state.challenges.values())
        text = f"<!DOCTYPE html><html><head><title>Challenges</title></head><body>{tables}</body></html>"
        return Reply(200, text.encode(), HTML)

    def _table(self, challenge: Challenge) -> str:
        rows = "".join(
            f"<tr><td>{line['rank']}</td><td>{html.escape(line['participant'])}</td>"
            f"<td>{line['score']}</td><td>{line['entries']}</td></tr>"
            for line in self.state.leaderboard(challenge)
        )
        head = "<tr><th>rank</th><th>participant</th><th>score</th><th>entries</th></tr>"
        return f"<h2>{html.escape(challenge.title)}</h2><table>{head}{rows}</table>"


Handler = Callable[[Call], Reply]


def routes(api: Api) -> list[tuple[str, re.Pattern[str], str, Handler]]:
    """Return method, path, name and function of each call; the first that matches is meant."""
    grader = r"/api/external_graders"
    table: list[tuple[str, str, str, Handler]] = [
        ("GET", rf"{grader}/challenge_config", "challenge_config", api.challenge_config),
        ("GET", rf"{grader}/([^/]+)/submission_info", "submission_info", api.submission_info),
        ("GET", rf"{grader}/([^/]+)/presign", "presign", api.presign),
        ("GET", rf"{grader}/([^/]+)", "participant", api.participant),
        ("POST", rf"{grader}/?", "register", api.register),
        ("PATCH", rf"{grader}/([^/]+)", "grade", api.grade),
        ("PUT", rf"{grader}/([^/]+)", "grade", api.grade),
        ("GET", r"/api/challenges/([0-9]{1,9})", "challenge", api.challenge),
        ("GET", r"/api/challenges/([0-9]{1,9})/submissions", "submissions", api.submissions),
        ("PUT", r"/files/(submissions/[0-9a-f-]+)", "upload", api.upload),
        ("GET", r"/files/(submissions/[0-9a-f-]+)", "download", api.download),
        ("GET", r"/leaderboards/([^/]+)", "leaderboard", api.leaderboard),
        ("GET", r"/", "front_page", api.front_page),
    ]
    return [(method, re.compile(pattern), name, handler) for method, pattern, name, handler in table]
