"""Imports made exports of 2,000 assets, and requests every old URL from a server: `make bench-import`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.library.made_export import write_contentstack, write_kontent
from tests.library.test_site_import import check_urls, run
from tests.web.server_process import running

ASSETS = 2_000


def main() -> None:
    """Import both exports. Fails if a URL does not return the exported bytes."""
    with tempfile.TemporaryDirectory(prefix="cropmark-import-") as name:
        folder = Path(name)
        exports = {
            "contentstack": (folder / "export", write_contentstack(folder / "export", ASSETS)),
            "kontent": (folder / "backup.zip", write_kontent(folder / "backup.zip", ASSETS)),
        }
        for vendor, (export, urls) in exports.items():
            data = folder / f"data-{vendor}"
            start = time.monotonic()
            result = run("library", "import", vendor, export, "--data", data)
            seconds = time.monotonic() - start
            assert result.exit_code == 0, result.output
            limit = {"CROPMARK_CONTENTSTACK__RATE_LIMIT": "0"}
            with running("--data", str(data), cache=folder / f"cache-{vendor}", environment=limit) as server:
                check_urls(f"{server.address}/{vendor}", urls)
            sys.stdout.write(
                f"{vendor}: {seconds:.1f} s for {ASSETS:,} assets; {len(urls):,} URLs return their bytes\n"
            )
            sys.stdout.write(result.stdout)


if __name__ == "__main__":
    main()
