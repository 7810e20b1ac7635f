"""Replays the URLs of a log: requests each URL from both servers, and compares the responses.

Bodies are written to temporary files, and are decoded in renderer processes only.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from aiohttp import ClientSession

from cropmark.model.problems import Overloaded, Problem, SourceFailed, SourceTooLarge
from cropmark.ports import ImageDifference
from cropmark.renderers.pool import Pool
from cropmark.replay.compare import Comparison, compare_bodies
from cropmark.replay.fetch import FetchedBody, FetchedUrl, fetch, new_session
from cropmark.replay.pace import RateLimiter, for_each, send_until_accepted
from cropmark.replay.results import Outcome, ReplayOptions, UrlResult, failure_of, outcome_of
from cropmark.replay.targets import ReplayTarget


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits of a replay: URLs that begin per second, and URLs in progress at the same time."""

    rate: float
    """URLs per second; each is one request to each server."""
    concurrency: int


async def replay(
    targets: Iterable[ReplayTarget],
    options: ReplayOptions,
    pace: Pace,
    pool: Pool,
    report: Callable[[UrlResult], None],
) -> None:
    """Request each URL from both servers and compare the responses. Calls `report` with each result."""
    limiter = RateLimiter(pace.rate)
    async with new_session() as session:
        replayer = _Replayer(session, options, pool)

        async def work(target: ReplayTarget) -> None:
            await limiter.wait()
            report(await replayer.result(target))

        await for_each(targets, pace.concurrency, work)


def urls_of(target: ReplayTarget, options: ReplayOptions) -> tuple[str, str | None]:
    """The URL of the target on the new server, and that on the old server, or None without an old server."""
    there = None if options.against is None else options.against.rstrip("/") + target.target
    return options.server.rstrip("/") + target.target, there


@dataclass(frozen=True, slots=True)
class _Replayer:
    session: ClientSession
    options: ReplayOptions
    pool: Pool

    async def result(self, target: ReplayTarget) -> UrlResult:
        """Request one URL from both servers, and return the result of the comparison."""
        with ExitStack() as stack:
            here, there = await fetch_both(self.session, target, self.options, stack)
            if isinstance(here, str):
                return _result(target, Outcome.ERROR, here, _described(there))
            if there is None:
                outcome = failure_of(here.status) or Outcome.ANSWERED
                return _result(target, outcome, _described(here))
            if isinstance(there, str):
                return _result(target, Outcome.FAILED_THERE, _described(here), there)
            return await self._compared(target, here, there)

    async def _compared(self, target: ReplayTarget, here: FetchedBody, there: FetchedBody) -> UrlResult:
        if (here.status == there.status and here.digest == there.digest) or 200 not in (here.status, there.status):
            comparison = Comparison(here.described(), there.described(), None)
        else:
            try:
                comparison = await compare_bodies(here, there, self.pool)
            except Problem as problem:
                # Too large to compare; another run repeats the comparison if the renderers were overloaded.
                outcome = Outcome.ERROR if isinstance(problem, Overloaded) else Outcome.BYTES
                return _result(target, outcome, f"{_described(here)}, {problem.detail}", _described(there))
        outcome = outcome_of(comparison, self.options.tolerance)
        texts = [_facts(fetched) for fetched in (comparison.one, comparison.two)]
        return _result(target, outcome, texts[0], texts[1], comparison.difference)


async def fetch_both(
    session: ClientSession, target: ReplayTarget, options: ReplayOptions, stack: ExitStack
) -> tuple[FetchedBody | str, FetchedBody | str | None]:
    """Request a URL from both servers: returns the response of the new server and that of the old server.

    In place of a response there is a text with the reason if a server did not respond, and None if no old server is
    given. `stack` will close the files with the bodies.
    """
    accept = {"Accept": options.accept} if options.accept else {}
    url, against = urls_of(target, options)
    # Sites are found by host name; the old server's name is in its URL.
    host = {"Host": target.host} if target.host else {}
    requests = [_fetch(session, url, stack.enter_context(_temporary_file()), {**accept, **host})]
    if against is not None:
        requests.append(_fetch(session, against, stack.enter_context(_temporary_file()), accept))
    responses = await asyncio.gather(*requests)
    return responses[0], responses[1] if against is not None else None


def _temporary_file() -> BinaryIO:
    return tempfile.TemporaryFile()


async def _fetch(session: ClientSession, url: str, file: BinaryIO, headers: dict[str, str]) -> FetchedBody | str:
    """Send a request, write the body to `file`, and return the response.

    If the server does not respond, the return value is a text with the reason.
    """
    try:
        return await send_until_accepted(partial(_fetch_once, session, url, file, headers))
    except (SourceFailed, SourceTooLarge) as problem:
        return problem.detail


async def _fetch_once(session: ClientSession, url: str, file: BinaryIO, headers: dict[str, str]) -> FetchedBody:
    file.seek(0)
    file.truncate()
    return await fetch(session, url, file, headers)


def _result(
    target: ReplayTarget, outcome: Outcome, here: str, there: str = "", difference: ImageDifference | None = None
) -> UrlResult:
    mean, psnr_db = (difference.mean, difference.psnr_db) if difference else (None, None)
    return UrlResult(target.key, target.target, target.host, target.requests, outcome, here, there, mean, psnr_db)


def _described(response: FetchedBody | str | None) -> str:
    return _facts(response.described()) if isinstance(response, FetchedBody) else response or ""


def _facts(fetched: FetchedUrl) -> str:
    """The response in words: `200 image/webp 640x360, 31,204 bytes`."""
    size = f" {fetched.info.size}" if fetched.info else ""
    frames = f", {fetched.info.frames} frames" if fetched.info and fetched.info.frames > 1 else ""
    return f"{fetched.status} {fetched.media_type}{size}{frames}, {fetched.bytes:,} bytes"
