"""Faults on this side of the program: who reads its output, and who runs it."""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING

from tests.faults.proxy import Reset, page
from tests.faults.row import Group
from tests.faults.scene import run_sandbox, wait_until
from tests.faults.truth import trades_made

if TYPE_CHECKING:
    from tests.faults.scene import Scene

CONSUMER = Group("Whoever reads and runs it")
row = CONSUMER.row


WAITED = "^$|stdout was not read for"
"""Whether a pause is worth a sentence depends on how much came meanwhile."""


@row(
    "the reader of a pipe goes, as `head -20` does",
    "nothing: the stream ends as asked",
    tells="connected update",
)
def pipe_closed(scene: Scene) -> None:
    scene.shell(f"$KRAKENWS {scene.feeds} $TO | head -20")


@row(
    "the reader pauses for three seconds",
    "nothing, or that it had to wait: everything comes, in order",
    tells="connected update",
    says=WAITED,
    books=50,
)
def reader_pauses(scene: Scene) -> None:
    scene.shell(f"$KRAKENWS {scene.feeds} --for 4s $TO | (sleep 3; cat)")


@row(
    "the program itself is stopped for a while (`kill -STOP`)",
    "nothing, or that it stood still: what came meanwhile is read then",
    tells="update",
    says=WAITED,
    books=10,
)
def client_stopped(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        os.kill(stream.process.pid, signal.SIGSTOP)
        try:
            scene.strike()
            so_far = trades_made(scene.truth)
            wait_until(lambda: trades_made(scene.truth) >= so_far + 20)
        finally:
            os.kill(stream.process.pid, signal.SIGCONT)
        stream.data(times=3)


@row("the disk is full (`> /dev/full`)", "one sentence, exit 7", code=7, says="no space left on device")
def disk_full(scene: Scene) -> None:
    scene.is_json = False
    scene.shell(f"$KRAKENWS {scene.feeds} $TO > /dev/full")


@row(
    "the output file may grow no further (`ulimit -f`)",
    "what fits is whole lines but for the last; one sentence, exit 7",
    code=7,
    says="file too large",
)
def file_too_large(scene: Scene) -> None:
    scene.is_json = False
    scene.shell(f"ulimit -f 16; $KRAKENWS {scene.feeds} $TO > out.jsonl")
    assert (scene.home / "out.jsonl").stat().st_size == 16 * 1024


@row("stdout is closed (`>&-`)", "one sentence, exit 7", code=7, says="bad file descriptor")
def stdout_closed(scene: Scene) -> None:
    scene.is_json = False
    scene.shell(f"$KRAKENWS {scene.feeds} $TO >&-")


@row("stderr is closed (`2>&-`)", "nothing: data goes on", tells="disconnected connected gap update", books=2)
def stderr_closed(scene: Scene) -> None:
    scene.proxy.switch_on(Reset(at_byte=20_000))
    scene.shell(f"$KRAKENWS {scene.feeds} --count 400 $TO 2>&-")


@row("stdin is closed (`<&-`)", "nothing", tells="connected update", books=2)
def stdin_closed(scene: Scene) -> None:
    scene.shell(f"$KRAKENWS {scene.feeds} --count 50 $TO <&-")


def ended_while_waiting(scene: Scene, end: int) -> None:
    """Have it wait a minute for its next attempt, and end it."""
    with scene.stream() as stream:
        stream.data()
        scene.proxy.switch_on(page(403))
        scene.network(Reset())
        stream.until("disconnected")
        stream.until("disconnected")
        os.kill(stream.process.pid, end)
        scene.result = stream.process.finish(within_s=5)


@row(
    "SIGTERM while it waits a minute for its next attempt",
    "it ends at once, as asked",
    tells="disconnected disconnected",
    says="connecting again in 60.0 s",
)
def terminated_while_waiting(scene: Scene) -> None:
    ended_while_waiting(scene, signal.SIGTERM)


@row(
    "Ctrl-C while it waits a minute for its next attempt",
    "it ends at once, as asked",
    tells="disconnected disconnected",
    says="connecting again in 60.0 s",
)
def interrupted_while_waiting(scene: Scene) -> None:
    ended_while_waiting(scene, signal.SIGINT)


@row(
    "the reader reads nothing for as long as the exchange waits, under `--overflow drop`",
    "`lagging` with what was dropped; data goes on",
    tells="connected lagging",
    books=1,
    says="read too slowly",
)
def reader_sleeps(scene: Scene) -> None:
    with run_sandbox(scene.home / "busy", "--rate", "3000") as busy:
        scene.move_to(busy)
        scene.shell(f"$KRAKENWS {scene.feeds} --overflow drop --for 12s $TO | (sleep 10; cat)")


# ---- resources

RESOURCES = Group("Resources of the machine")
row = RESOURCES.row


def few(scene: Scene, limit: str, *, words: str = "") -> None:
    """Stream a while under a limit of the shell."""
    scene.shell(f"{limit}; $KRAKENWS {words or scene.feeds} --count 50 $TO")


@row(
    "too few file descriptors to begin with (`ulimit -n 6`)",
    "one sentence with what mends it, exit 1",
    code=1,
    says="ulimit -n",
)
def no_descriptors(scene: Scene) -> None:
    few(scene, "ulimit -n 6")


@row(
    "no file descriptor is left when a lost connection is to be made anew",
    "`disconnected` with the reason, tried again; it heals once there are some",
    tells="disconnected disconnected connected gap update",
    says="too many open files; connecting again",
    noticed_s=5,
    back_s=15,
    books=2,
)
def descriptors_run_out(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        limits = resource.prlimit(stream.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(stream.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        scene.network(Reset())
        stream.until("disconnected")
        stream.until("disconnected")
        resource.prlimit(stream.process.pid, resource.RLIMIT_NOFILE, limits)
        scene.mend()
        stream.flows_on()


@row("few file descriptors (`ulimit -n 8`)", "nothing", tells="connected update", books=2)
def few_descriptors(scene: Scene) -> None:
    few(scene, "ulimit -n 8")


@row("no HOME", "nothing: public data needs no file", tells="connected update", books=2)
def no_home(scene: Scene) -> None:
    few(scene, "unset HOME XDG_CONFIG_HOME XDG_CACHE_HOME")  # its state would go to our own home


@row(
    "nothing can be written at home",
    "a warning: connections are counted for this process alone; public data needs no other file",
    tells="connected update",
    says="connections are counted for this process alone",
    books=2,
)
def home_read_only(scene: Scene) -> None:
    few(scene, f"export {READ_ONLY}")


READ_ONLY = "HOME=/proc XDG_CONFIG_HOME=/proc/config XDG_STATE_HOME=/proc/state XDG_CACHE_HOME=/proc/cache"
"""Nobody can write there, root neither."""


@row(
    "nothing can be written at home, and a token is to be fetched",
    "refused, with what mends it: without its state a nonce could be used twice",
    code=7,
    says="state.db cannot be used .*make it and its directory writable",
)
def state_read_only(scene: Scene) -> None:
    few(scene, f"export {READ_ONLY}", words="openOrders")


@row(
    "a list of pairs cannot be kept (home is read-only)",
    "a warning; the pattern is expanded all the same",
    tells="connected update",
    says="the list of pairs could not be kept",
    books=2,
)
def cache_read_only(scene: Scene) -> None:
    few(scene, f"export {READ_ONLY}", words="book */USD")


@row(
    "the state file is damaged",
    "refused, with what mends it",
    code=7,
    says="state.db is damaged: move it away",
)
def state_damaged(scene: Scene) -> None:
    directory = scene.home / "state" / "krakenws"
    directory.mkdir(parents=True)
    (directory / "state.db").write_bytes(b"no database, but long enough to be taken for one " * 100)
    scene.run("openOrders")


@row(
    "the disk is full where the state is (`ulimit -f 0`)",
    "refused, with what mends it",
    code=7,
    says="state.db could not be (written|read or written)",
)
def state_full(scene: Scene) -> None:
    few(scene, "ulimit -f 0", words="openOrders")


@row(
    "another program holds the state file for ever",
    "refused after 5 s, with what mends it",
    code=7,
    says="state.db is locked by another program",
)
def state_locked(scene: Scene) -> None:
    import sqlite3

    scene.trade("cancelAll")  # makes the file
    held = sqlite3.connect(scene.home / "state" / "krakenws" / "state.db", isolation_level=None)
    try:
        held.execute("BEGIN IMMEDIATE")
        scene.run("openOrders")
    finally:
        held.close()


@row(
    "the settings file is no TOML",
    "one sentence with its place; nothing is opened",
    code=2,
    says="config.toml is not TOML",
)
def config_damaged(scene: Scene) -> None:
    directory = scene.home / "config" / "krakenws"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text("output = [json\n")
    scene.run("ticker XBT/USD")


@row("the working directory was deleted", "nothing", tells="connected update", books=2)
def directory_deleted(scene: Scene) -> None:
    few(scene, "mkdir gone && cd gone && rmdir ../gone")


@row("little memory (`ulimit -v` of 200 MB)", "nothing", tells="connected update", books=2)
def little_memory(scene: Scene) -> None:
    few(scene, "ulimit -v 200000")


@row("a locale that is not installed", "nothing", tells="connected update", books=2)
def locale_missing(scene: Scene) -> None:
    scene.run(f"{scene.feeds} --count 50", LC_ALL="xx_XX.UTF-16", LANG="C")
