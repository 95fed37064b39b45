"""A participant with the ``crowdai`` client 1.0.22, unchanged; it runs where that client is installed.

One line of JSON says what to do: where the broker is (``host``, ``port``), where the webapp is (``api``), the
``challenge``, the ``key``, and the ``call``: a method of the client's challenge, with its arguments. One line
of JSON says what came of it: ``{"result": …}``, or ``{"raised": class, "message": text}``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import crowdai


def participate(line: dict[str, Any]) -> dict[str, Any]:
    """Do what a participant's own program does."""
    crowdai.config["remote_host"] = line["host"]
    crowdai.config["remote_port"] = line["port"]
    crowdai.config["crowdai_remote_api"] = line["api"]
    try:
        challenge = crowdai.Challenge(line["challenge"], line["key"])
        result = getattr(challenge, line["call"])(*line.get("args", ()), **line.get("kwargs", {}))
        challenge.disconnect()
    except Exception as error:
        return {"raised": type(error).__name__, "message": str(error)}
    return {"result": result}


def main() -> None:
    """Answer the one line of the input."""
    answer = participate(json.loads(sys.stdin.readline()))
    sys.stdout.write("\n" + json.dumps({"saw": "end", **answer}) + "\n")


if __name__ == "__main__":
    main()
