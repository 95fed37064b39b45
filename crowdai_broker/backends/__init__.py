"""One outside server a file: Redis, graders, the webapp."""
