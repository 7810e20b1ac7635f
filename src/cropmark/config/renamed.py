"""Former names of settings. Aliases are still read. Other former names cause an error that gives the current name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ALIASES: Final = {"web_allow": "allow_private_hosts"}
"""Current names by alias. An alias is read like the current name, in the file and in the environment."""

RENAMED: Final = {
    "queue": "queue_limit",
    "shutdown_s": "shutdown_timeout_s",
    "render_deadline_s": "render_timeout_s",
    "analysis_deadline_s": "analysis_timeout_s",
    "old_libraries": "allow_vulnerable_libraries",
    "library_limit": "max_upload_bytes",
    "management_rate": "management_requests_per_s",
    "memory_cache": "memory_cache_bytes",
    "disk_cache": "disk_cache_bytes",
    "originals_cache": "originals_cache_bytes",
    "pixlab_keep_s": "pixlab_result_ttl_s",
    "pixlab_results": "pixlab_result_bytes",
    "pixlab_per_minute": "pixlab_requests_per_minute",
    "web_open": "pixlab_allow_any_host",
    "web_hosts": "pixlab_allowed_hosts",
    "bucket_role": "allow_instance_credentials",
    "resource_policy": "cross_origin_resource_policy",
    "smart": "smart_crop",
    "fastly.malformed": "fastly.on_malformed",
    "pixlab.side": "pixlab.max_side",
    "pixlab.source_bytes": "pixlab.max_source_bytes",
    "pixlab.source_pixels": "pixlab.max_source_pixels",
    "site.widths": "site.allowed_widths",
    "site.resource_policy": "site.cross_origin_resource_policy",
}
"""Current names by former name. `site.` is the table of a site, `fastly.` the section of a dialect."""


def current_name(name: str) -> str | None:
    """The current name of a renamed setting, without its table; None if `name` is not a former name."""
    renamed = RENAMED.get(name)
    return renamed and renamed.rpartition(".")[2]


def spellings(name: str) -> tuple[str, ...]:
    """The name of a setting and its aliases."""
    return name, *(alias for alias, current in ALIASES.items() if current == name)


def without_aliases(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values by the current names of their settings.

    A value under the current name overrides a value under an alias.
    """
    renamed = {
        prefix + ALIASES[name.removeprefix(prefix)]: value
        for name, value in values.items()
        if name.removeprefix(prefix) in ALIASES
    }
    rest = {name: value for name, value in values.items() if name.removeprefix(prefix) not in ALIASES}
    return {**renamed, **rest}
