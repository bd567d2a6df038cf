"""A Unix socket that one process serves: for its owner only, never taken from a process that lives."""

from __future__ import annotations

import errno
import os
import socket
import stat

from krakenws.errors import SinkError, UsageError
from krakenws.net.poller import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BACKLOG = 128
_PATIENCE_S = 1.0
_OWNER_ONLY = 0o177


class UnixListener:
    """Listens at a path; a context manager, which removes the socket at the end if it is still its own.

    What another process left there is replaced; where one still listens, or something else lies, it is an
    error.

    Args:
        path: where. Its directory must exist.

    Attributes:
        path: the same.
        watched: what is readable when somebody connects.

    Raises:
        UsageError: the path cannot be that of a socket, or somebody listens there.
        SinkError: the system does not let us.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self.watched: Sequence[tuple[socket.socket, int]] = ((self._socket, READ),)
        try:
            self._inode = self._bind()
            self._socket.listen(_BACKLOG)
        except OSError as error:
            self._socket.close()
            if "too long" in str(error):
                raise UsageError(
                    f"--listen unix:{path}: the path is too long for a socket (100 bytes fit)"
                ) from None
            if isinstance(error, FileNotFoundError):
                raise SinkError(f"--listen unix:{path}: there is no such directory; make it first") from None
            raise SinkError(f"--listen unix:{path}: {(error.strerror or str(error)).lower()}") from None
        except BaseException:
            self._socket.close()
            raise

    def _bind(self) -> int:
        """Take the path, while no other process takes it: its directory is locked meanwhile."""
        import fcntl

        directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY)
        umask = os.umask(_OWNER_ONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            self._make_room()
            self._socket.bind(self.path)
            return os.stat(self.path).st_ino
        finally:
            os.umask(umask)
            os.close(directory)

    def _make_room(self) -> None:
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise UsageError(f"--listen unix:{self.path}: something that is no socket lies there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(_PATIENCE_S)
            try:
                knock.connect(self.path)
            except ConnectionRefusedError:
                os.unlink(self.path)  # of a process that is gone
                return
            except TimeoutError:
                pass  # its backlog is full: it lives
        raise UsageError(f"--listen unix:{self.path}: another process serves it already")

    def accept(self) -> Iterator[socket.socket]:
        """Give those who connected, not blocking.

        Raises:
            SinkError: there is no descriptor left for another one.
        """
        while True:
            try:
                client, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    raise SinkError(f"another client cannot be taken: {error.strerror}") from None
                raise
            client.setblocking(False)
            yield client

    def __enter__(self) -> UnixListener:  # noqa: PYI034 - nobody derives from it
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        try:
            if os.lstat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        except OSError:
            return  # removed by somebody else
