"""How many new pictures of one source a client may have made in a minute: a bound to the explosion of variants."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from cropmark.model.problems import TooManyRequests
from cropmark.ports import Limiter


@dataclass(frozen=True, slots=True)
class VariantQuota:
    """`limiter` counts in minutes; `variants` 0: as many as anybody likes."""

    limiter: Limiter
    variants: int = 0

    async def consume(self, source: str, client: str) -> None:
        """Count a picture that is to be made of `source`, a Stamp's identity. Raises TooManyRequests."""
        if not self.variants:
            return
        # A digest: the name may be a web address with a token in it, and may be counted in a database of others.
        name = sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        quota = await self.limiter.hit(f"variants {client} {name}", self.variants)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} new renditions of one picture in a minute",
                fix="come back later; those that were made are still there",
                retry_after_s=quota.retry_after_s,
            )
