"""A recipe as a job array: equal processes without a scheduler that share the blocks of every pass by their number.

Part i of n computes the blocks whose running number modulo n is i - 1. Work that is not per block
(creating a field, marking it complete, writing results, training) is a critical section: one part
at a time takes the sample lock and runs the verb from the top, skipping what is already done. At a
pass with unfinished blocks the verb is left by `ShareError`: the part releases the lock, computes
its share, waits for the shares of the others, and runs the verb again. For a verb this is the same
as being killed and restarted, which it must survive anyway.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tim3d.engine.state.ledger import Ledger
from tim3d.engine.state.lock import hold_lock, lock_url, owner_of, refuse_parts, turn_of
from tim3d.engine.state.owner import LEASE_SECONDS
from tim3d.errors import ArgumentError, DeviceError, FailedBlocksError, LockedError
from tim3d.grid import Triple

log = logging.getLogger(__name__)
T = TypeVar("T")
POLL_SECONDS = 0.5
# Listing the markers of a large pass is slow on a network disk and costs money in an object store:
# it takes at most this share of the time spent waiting.
_LOOKING = 0.05
# Another client holds the lock for an instant, until it finds that parts work on the sample.
PASSING_SECONDS = 5.0
DEFAULT_WAIT_SECONDS = 3600.0
# The age of a lease is the difference of two stamps, which in a bucket are whole seconds.
STAMP_SECONDS = 2.0


@dataclass(frozen=True)
class Part:
    """Part `number` (from 1) of `count`.

    >>> Part.parse("2/3").share(range(7), {0, 1, 4, 6})
    [1, 4]
    """

    number: int
    count: int

    @staticmethod
    def parse(text: str) -> Part:
        """Read ``i/n``.

        Raises
        ------
        ArgumentError
            If the text has another form, or i is not between 1 and n.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ArgumentError(
                f"part {text!r} is not i/n with i from 1 to n: the first of three is --part 1/3"
            )
        return Part(int(number), int(count))

    def share(self, every: Iterable[T], left: Iterable[T]) -> list[T]:
        """Blocks of `left` that belong to this part, by their running numbers in `every`."""
        wanted = set(left)
        return [
            block
            for number, block in enumerate(every)
            if number % self.count == self.number - 1 and block in wanted
        ]

    @property
    def others(self) -> str:
        """The other parts, for a message."""
        numbers = [str(n) for n in range(1, self.count + 1) if n != self.number]
        return f"part(s) {', '.join(numbers)} of {self.count}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


class Shared(Protocol):
    """The attributes of a pass that a job array needs."""

    @property
    def ledger(self) -> Ledger:
        """The markers."""

    def left(self) -> list[Triple]:
        """Blocks that are not done."""


class ShareError(BaseException):
    """Control flow, not a fault: leaves a verb to compute the blocks `mine` of `work_pass`. No verb may catch it."""

    def __init__(self, work_pass: Shared, mine: list[Triple], compute: Callable[[], Any]) -> None:
        super().__init__(work_pass.ledger.name)
        self.work_pass, self.mine, self.compute = work_pass, mine, compute


_part: ContextVar[Part | None] = ContextVar("tim3d_part", default=None)


def current_part() -> Part | None:
    """The part that holds the sample lock in this process, if it is one of a job array."""
    return _part.get() if turn_of.get() is not None else None


@contextlib.contextmanager
def join_job_array(sample: str, part: Part) -> Iterator[None]:
    """Work on a sample as one part of several: other runs are refused, the other parts are not.

    Raises
    ------
    LockedError
        If another process is the same part, or parts of another count work on the sample.
    """
    url, here = lock_url(sample, f"{part.number}-of-{part.count}"), socket.gethostname()
    # A part that was cancelled on another machine leaves a lease that must first run out.
    elsewhere = lambda owner: owner.get("host", here) != here  # noqa: E731
    with _waiting(url, sample, part, elsewhere, LEASE_SECONDS * 1.25 + STAMP_SECONDS):
        refuse_parts(sample, allowed_suffix=f"-of-{part.count}.lock")
        token = _part.set(part)
        try:
            yield
        finally:
            _part.reset(token)


def run_exclusively(
    sample: str, action: Callable[[], T], wait_seconds: float = DEFAULT_WAIT_SECONDS
) -> T:
    """Run a verb under the sample lock, and again after each pass that all parts have finished.

    Raises
    ------
    DeviceError
        If the other parts finish no block for `wait_seconds`.
    FailedBlocksError
        If another part set a block aside meanwhile.
    """
    while True:
        try:
            with _turn(sample):
                return action()
        except ShareError as share:
            found = share
        failed = found.work_pass.ledger.failed().keys() - set(found.mine)
        found.compute()
        _wait(sample, found, set(failed), wait_seconds)


@contextlib.contextmanager
def _turn(sample: str) -> Iterator[None]:
    part = _part.get()
    assert part is not None, "only a part of a job array takes turns"
    with _waiting(lock_url(sample), sample, part, lambda owner: "part" in owner, None):
        token = turn_of.set(sample)
        try:
            yield
        finally:
            turn_of.reset(token)


@contextlib.contextmanager
def _waiting(
    url: str,
    sample: str,
    part: Part,
    patient: Callable[[dict[str, Any]], bool],
    limit: float | None,
) -> Iterator[None]:
    """Hold a lock; wait for it, for `limit` seconds, while `patient` accepts its owner."""
    start = barred = time.monotonic()
    with contextlib.ExitStack() as stack:
        while True:
            look = time.monotonic()
            try:
                stack.enter_context(hold_lock(url, sample, part=str(part)))
                break
            except LockedError:
                now = time.monotonic()
                if patient(owner_of(url)):
                    barred = now
                if now - barred > PASSING_SECONDS or (limit is not None and now - start > limit):
                    raise
            _rest(look)
        yield


def _wait(sample: str, share: ShareError, failed: set[Triple], limit: float) -> None:
    """Wait until no block of the pass is left; raise `DeviceError` if none was finished for `limit` seconds."""
    before, since, part = -1, time.monotonic(), _part.get()
    while True:
        start = time.monotonic()
        left = share.work_pass.left()
        if not left:
            return
        failed = refuse_failed(share.work_pass.ledger, failed)
        if len(left) != before:
            before, since = len(left), start
            log.info(
                "%s: %d blocks are left to the other parts", share.work_pass.ledger.name, len(left)
            )
        elif start - since > limit:
            assert part is not None
            raise DeviceError(
                f"{len(left)} block(s) of {share.work_pass.ledger.name} in {sample} are left to {part.others}, and "
                f"none was finished for {limit / 60:g} min. Start the missing part(s) again, or finish it in one "
                "process by the same command without --part"
            )
        _rest(start)


def _rest(look: float) -> None:
    """Sleep between two checks; the last one began at `look`."""
    time.sleep(max(POLL_SECONDS, (time.monotonic() - look) / _LOOKING))


def refuse_failed(ledger: Ledger, known: set[Triple]) -> set[Triple]:
    """Blocks set aside before this run that still are; raise an error if another one was."""
    now = ledger.failed()
    fresh = sorted(now.keys() - known)
    if fresh:
        last = now[fresh[0]].strip().splitlines()[-1]
        raise FailedBlocksError(
            f"{len(fresh)} block(s) of {ledger.name} were set aside by another part. First: block {fresh[0]}: {last}. "
            "Fix the cause and start the same job array again."
        )
    return known & now.keys()
