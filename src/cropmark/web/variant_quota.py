"""Limits the number of new renditions of one source that a client can request in a minute."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from cropmark.model.problems import TooManyRequests
from cropmark.ports import Limiter


@dataclass(frozen=True, slots=True)
class VariantQuota:
    """Allows each client `per_minute` new renditions of one source; 0: no limit."""

    limiter: Limiter
    per_minute: int = 0

    async def consume(self, source: str, client: str) -> None:
        """Count a new rendition for a client. Raises TooManyRequests above the limit.

        `source` is the identity of the source.
        """
        if not self.per_minute:
            return
        # A digest: the name may be a URL with a token, and the limiter's database may be shared.
        name = sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        quota = await self.limiter.hit(f"variants {client} {name}", self.per_minute, window_s=60)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} new renditions of one image in a minute",
                fix="try again later; existing renditions are still served",
                retry_after_s=quota.retry_after_s,
            )
