"""The mixed load on a fleet, and the judgment of each response.

- known     images that were rendered at the start, over nginx: the same bytes
- new       images that were not requested before, over nginx: complete images of the right size
- bursts    a new image on both servers, three requests to each at the same time: how many renders
- purges    an object gets a new color and is purged; from then on, no older color may be served
- assets    uploads to the library, which must not be lost
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import httpx
import obstore
from PIL import Image
from tests.library.builders import png
from tests.web.server_process import TOKEN

from cropmark.fleet.locks import LOCK_S
from fleet.parts import PICTURES, Fleet, Outage, store_of

COLORED: Final = tuple(f"colored-{n}.png" for n in range(4))
WIDTHS: Final = (60, 120, 240)
FORMATS: Final = ("jpg", "webp", "png")
GRACE_S: Final = 3.0
"""Time after which a purge must have reached the other server, and after which a part that is back must be used."""
ORIGIN_GRACE_S: Final = 7.0
"""The same for the bucket: the servers remember its failures for five seconds."""
NEEDED: Final = {"colored": ("bucket",), "upload": ("bucket", "postgres"), "asset": ("bucket", "postgres")}
"""The parts without which requests of a kind fail. An asset that was read before needs none of them."""

NEEDED_FOR_ONE_RENDER: Final = ("redis", "bucket", "one", "two")
"""The parts without which both servers may render an image: Redis has the lock, the bucket the shared cache."""


@dataclass(frozen=True, slots=True)
class Purged:
    """A purge that was accepted: from then on `generation` is the oldest color of the object that may be served."""

    name: str
    generation: int
    at_s: float
    by: str
    """The server that received it, and must have carried it out."""


@dataclass(slots=True)
class Verdict:
    """All that was seen."""

    responses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """Requests that failed because of a killed part, by the reason why they may."""
    wrong: list[str] = field(default_factory=list)
    purges: int = 0
    waited: int = 0
    """Purges that were accepted while Redis was away."""
    bursts: int = 0
    on_both: int = 0
    """Bursts with an image that both servers rendered, because it took longer than the lock in Redis lasts."""
    renders_of_key: Counter[int] = field(default_factory=Counter)
    """The number of bursts, by the largest number of renders on one server while Redis was up."""
    assets: int = 0
    took_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Load:
    """The loads on a fleet until `until_s`, at least as long as parts are killed."""

    fleet: Fleet
    client: httpx.AsyncClient
    verdict: Verdict
    chance: random.Random
    until_s: float
    right: dict[str, str] = field(default_factory=dict)
    """The digests of the known images by path."""
    generations: dict[str, int] = field(default_factory=dict)
    purged: list[Purged] = field(default_factory=list)
    assets: dict[str, int] = field(default_factory=dict)
    """The color of each asset by its path."""
    read_assets: set[tuple[str, str]] = field(default_factory=set)
    """The servers and assets that were read there since the last kill of a server."""
    bucket_writes: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who changes the bucket, and while it is killed and filled again."""
    numbers: count[int] = field(default_factory=lambda: count(300))

    is_killing: bool = True
    """True until the last part has been killed and is back."""

    @property
    def is_on(self) -> bool:
        return self.is_killing or time.monotonic() < self.until_s

    # ------------------------------------------------------------------------------------------ preparation

    async def prepare(self) -> None:
        """Fill the bucket and the library, and render the known images."""
        for name in COLORED:
            self.generations[name] = 1
            await asyncio.to_thread(self._put, name, 1)
        names = sorted(path.name for path in self.fleet.images.glob("*.jpg"))
        store = store_of(self.fleet.parts["bucket"].value, PICTURES)
        await asyncio.to_thread(obstore.put, store, "web/known.jpg", (self.fleet.images / names[0]).read_bytes())
        paths = [f"/fastly/{n}?width={w}&format={f}" for n in names for w in WIDTHS for f in FORMATS]
        paths += [f"/shop/known.jpg?width={w}&format={f}" for w in WIDTHS for f in FORMATS]
        for path in paths:
            response = await self.client.get(self.fleet.addresses["nginx"] + path)
            response.raise_for_status()
            _check_image(response.content, int(path.partition("width=")[2].partition("&")[0]))
            self.right[path] = hashlib.sha256(response.content).hexdigest()
        self.assets |= await self._upload("one")

    def _put(self, name: str, generation: int) -> None:
        store = store_of(self.fleet.parts["bucket"].value, PICTURES)
        obstore.put(store, f"web/{name}", _colored(generation))

    # ------------------------------------------------------------------------------------------ loads

    async def known(self) -> None:
        while self.is_on:
            path = self.chance.choice(list(self.right))
            response = await self.get("known", "nginx", path)
            if response is not None and hashlib.sha256(response.content).hexdigest() != self.right[path]:
                self.verdict.wrong.append(f"{path}: other bytes ({response.headers.get('server-timing')})")
            await asyncio.sleep(0.01)

    async def new(self) -> None:
        names = [path.partition("?")[0] for path in self.right]
        while self.is_on:
            width, name = next(self.numbers), self.chance.choice(names)
            path = f"{name}?width={width}&enable=upscale&format={self.chance.choice(FORMATS)}"
            response = await self.get("new", "nginx", path)
            if response is not None:
                await self._judge(path, response, width)
            await asyncio.sleep(0.15)

    async def bursts(self) -> None:
        """One image, requested three times from each server at the same moment."""
        names = [path.partition("?")[0] for path in self.right if path.startswith("/fastly/")]
        while self.is_on:
            width = next(self.numbers)
            path = f"{self.chance.choice(names)}?width={width}&enable=upscale&format=png"
            servers = ("one", "two") * 3
            began_s = time.monotonic()
            found = await asyncio.gather(*(self.get("burst", server, path) for server in servers))
            ended_s = time.monotonic()
            renders: dict[str, set[str]] = {"one": set(), "two": set()}
            for server, response in zip(servers, found, strict=True):
                if response is not None:
                    await self._judge(path, response, width)
                    cached, _, stages = response.headers["server-timing"].partition(", fetch;")
                    if cached == "cache;desc=miss":  # those that shared a render have its times, except for the fetch
                        renders[server].add(stages.partition(", ")[2])
            self._count_renders(path, renders, began_s, ended_s)
            await asyncio.sleep(0.3)

    async def purges(self) -> None:
        """An object gets a new color, and is purged."""
        for number in count():
            if not self.is_on:
                return
            server, name = ("one", "two")[number % 2], self.chance.choice(COLORED)
            async with self.bucket_writes:
                if not self.fleet.is_away("bucket") and not self.fleet.is_away(server):
                    generation = self.generations[name] + 1
                    await asyncio.to_thread(self._put, name, generation)
                    self.generations[name] = generation
                    await self._purge(server, name, generation)
            await asyncio.sleep(0.4)

    async def _purge(self, server: str, name: str, generation: int) -> None:
        began_s = time.monotonic()
        try:
            response = await self.client.post(
                f"{self.fleet.addresses[server]}/admin/purge",
                json={"source": name},
                headers={"authorization": f"Bearer {TOKEN}"},
            )
        except httpx.TransportError as error:
            self._failure("purge", server, name, began_s, repr(error))
            return
        if response.status_code != 200:
            self._failure("purge", server, name, began_s, f"{response.status_code} {response.text[:200]}")
            return
        self.verdict.purges += 1
        self.verdict.waited += "other_servers" in response.json()
        self.purged.append(Purged(name, generation, time.monotonic(), server))

    async def colors(self) -> None:
        """The objects that are purged again and again, over nginx and from each server."""
        while self.is_on:
            target, name = self.chance.choice(("nginx", "one", "two")), self.chance.choice(COLORED)
            await self.check_color(target, name)
            await asyncio.sleep(0.02)

    async def check_color(self, target: str, name: str) -> bool:
        """Request an object. Notes a color that is too old, or not the object's. True if there was an image."""
        began_s = time.monotonic()
        response = await self.get("colored", target, f"/shop/{name}?width={self.chance.choice((8, 12))}&format=png")
        if response is None:
            return False
        generation, oldest = _generation(response.content), self._oldest(target, name, began_s)
        if not oldest <= generation <= self.generations[name]:
            wanted = f"{oldest} to {self.generations[name]}"
            timing = response.headers.get("server-timing")
            self.verdict.wrong.append(f"{name} of {target}: color {generation}, not {wanted} ({timing})")
        return True

    async def library(self) -> None:
        """Uploads to both servers; the assets are read from both."""
        for number in count():
            if not self.is_on:
                return
            server = ("one", "two")[number % 2]
            if not self.fleet.is_away(server):
                async with self.bucket_writes:
                    uploaded = await self._upload(server)
                await asyncio.sleep(1.5)  # the other server reads the library's changes once a second
                self.assets |= uploaded
            path = self.chance.choice(list(self.assets))
            target = self.chance.choice(("nginx", "one", "two"))
            await self.check_asset(target, path)
            await asyncio.sleep(0.3)

    async def check_asset(self, target: str, path: str) -> bool:
        servers = ("one", "two") if target == "nginx" else (target,)
        is_known = all((server, path) in self.read_assets for server in servers)
        response = await self.get("known asset" if is_known else "asset", target, path)
        if response is None:
            return False
        if _pixel(response.content)[0] != self.assets[path]:
            self.verdict.wrong.append(f"{path} of {target}: another asset")
        if len(servers) == 1:
            self.read_assets.add((target, path))
        return True

    async def _upload(self, server: str) -> dict[str, int]:
        """Upload and publish an asset; its path and color, if the server has accepted both."""
        began_s, red, shop = time.monotonic(), self.chance.randrange(256), self.fleet.shop
        assert shop is not None
        assets = f"{self.fleet.addresses[server]}/v3/assets"
        body = {"asset": {"locales": ["en-us"], "environments": ["production"]}}
        try:
            response = await self.client.post(
                assets, files={"asset": ("owl.png", png(red, (16, 16)))}, headers=shop.headers
            )
            if response.status_code == 201:
                asset = response.json()["asset"]
                published = f"{assets}/{asset['uid']}/publish"
                response = await self.client.post(published, json=body, headers=shop.headers)
        except httpx.TransportError as error:
            self._failure("upload", server, "", began_s, repr(error))
            return {}
        if response.status_code != 200 and response.status_code != 201:
            self._failure("upload", server, "", began_s, f"{response.status_code} {response.text[:200]}")
            return {}
        self.verdict.assets += 1
        return {f"/v3/{asset['url'].partition('/v3/')[2]}?environment=production&width=8&format=png": red}

    # ------------------------------------------------------------------------------------------ requests

    async def get(self, kind: str, target: str, path: str) -> httpx.Response | None:
        """The response with status 200; None if the part is known to be away, or for a failure, which is judged."""
        if self.fleet.is_away(target):
            return None
        began_s = time.monotonic()
        try:
            response = await self.client.get(self.fleet.addresses[target] + path)
        except httpx.TransportError as error:
            self._failure(kind, target, path, began_s, repr(error))
            return None
        if response.status_code != 200:
            self._failure(kind, target, path, began_s, f"{response.status_code} {response.text[:200]}")
            return None
        cached = response.headers["server-timing"].partition(",")[0].removeprefix("cache;desc=")
        self.verdict.responses[f"{kind}, {cached}"] += 1
        self.verdict.took_s.append(time.monotonic() - began_s)
        return response

    def _failure(self, kind: str, target: str, path: str, began_s: float, what: str) -> None:
        reason = self._permission(kind, target, began_s, time.monotonic())
        if reason is None:
            self.verdict.wrong.append(f"{kind} {target}{path}: {what}")
        else:
            self.verdict.failed[f"{kind}, {reason}"] += 1

    def _permission(self, kind: str, target: str, began_s: float, ended_s: float) -> str | None:
        """The reason why a request may have failed; None if it may not."""
        for outage in self.fleet.outages:
            if began_s <= outage.killed_s and ended_s >= outage.from_s:
                return f"in the air when {outage.part} was killed"
            if outage.part == target and _overlaps(outage, began_s, ended_s):
                return f"sent to {outage.part} while it was away"
            if outage.part in NEEDED.get(kind, ()) and _overlaps(outage, began_s, ended_s, ORIGIN_GRACE_S):
                return f"without {outage.part}"
        return None

    async def _judge(self, path: str, response: httpx.Response, width: int) -> None:
        try:
            await asyncio.to_thread(_check_image, response.content, width)
        except Exception as error:
            self.verdict.wrong.append(f"{path}: {error!r}")

    def _count_renders(self, path: str, renders: dict[str, set[str]], began_s: float, ended_s: float) -> None:
        """One server renders an image once, and only one server while all parts are up that this needs."""
        self.verdict.bursts += 1
        if any(each.part == "redis" and _overlaps(each, began_s, ended_s, GRACE_S) for each in self.fleet.outages):
            return
        most = max(map(len, renders.values()))
        self.verdict.renders_of_key[most] += 1
        if most > 1:
            self.verdict.wrong.append(f"{path}: {most} renders on one server: {renders}")
        needed = [each for each in self.fleet.outages if each.part in NEEDED_FOR_ONE_RENDER]
        if not all(renders.values()) or any(_overlaps(each, began_s, ended_s, ORIGIN_GRACE_S) for each in needed):
            return
        if ended_s - began_s > LOCK_S:
            self.verdict.on_both += 1
        else:
            self.verdict.wrong.append(f"{path}: rendered on both servers: {renders}")

    def _oldest(self, target: str, name: str, began_s: float) -> int:
        """The oldest color that a response to a request of this time may have."""
        purged = (each for each in self.purged if each.name == name)
        return max((each.generation for each in purged if self._reached(each, target) <= began_s), default=1)

    def _reached(self, purge: Purged, target: str) -> float:
        """The time from which no part may serve purged images."""
        if target == purge.by:
            return purge.at_s
        reached_s = purge.at_s
        for outage in self.fleet.outages:
            # Without Redis it waits; with a dead receiver, for its start; a server that was away reads it at its start.
            if outage.part in ("redis", "one", "two") and outage.from_s - GRACE_S <= reached_s <= outage.until_s:
                reached_s = outage.until_s
        return reached_s + GRACE_S


def _overlaps(outage: Outage, began_s: float, ended_s: float, grace_s: float = 0.0) -> bool:
    return began_s <= outage.until_s + grace_s and ended_s >= outage.from_s


def _colored(generation: int) -> bytes:
    """An image with the number of its generation as its color."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (generation % 256, generation // 256, 40)).save(out, "PNG")
    return out.getvalue()


def _generation(body: bytes) -> int:
    red, green, _ = _pixel(body)
    return red + 256 * green


def _pixel(body: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(body)) as image:
        return tuple(image.convert("RGB").getpixel((0, 0)))  # type: ignore[arg-type]  # of RGB


def _check_image(body: bytes, width: int) -> None:
    """Decode an image completely. Raises if it is broken or has another width."""
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        assert image.width == width, f"{image.width} pixels wide, not {width}"


Job = Callable[[], Awaitable[None]]


def jobs(load: Load) -> list[Job]:
    return [load.known, load.known, load.new, load.bursts, load.purges, load.colors, load.colors, load.library]
