"""An evaluator, complete: it scores predictions, one number a line, by their root mean squared error.

Try it on a file, and then let it grade::

    crowdai-broker grade evaluator:evaluate --try predictions.txt
    crowdai-broker grade evaluator:evaluate --redis redis://127.0.0.1:6379 --queue MyChallenge
"""

from math import dist, sqrt

TRUTH = [2.0, 3.5, 5.0, 7.5]  # yours would be read from a file that participants do not have


def evaluate(payload, context):  # type: ignore[no-untyped-def]
    """Return the result for one submission; what is raised here is told to its participant."""
    lines = context.file(payload["file_key"]).read_text().split()
    context.progress(50, f"{len(lines)} predictions read")
    if len(lines) != len(TRUTH):
        raise ValueError(f"{len(TRUTH)} numbers are needed, one a line; your file has {len(lines)}.")
    error = dist(TRUTH, map(float, lines)) / sqrt(len(TRUTH))
    return {"score": error, "comment": f"On average **{error:.2f}** off."}
