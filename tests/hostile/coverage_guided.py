"""The fuzz targets with atheris, which counts the branches that an input reaches (requirements/fuzz.txt).

python -m tests.hostile.coverage_guided [seconds]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

atheris = import_module("atheris")  # has no types; requirements/fuzz.txt says for which Pythons there is one
with atheris.instrument_imports(include=["cropmark"]):  # all that is loaded would take a minute
    from tests.hostile import targets


def main() -> None:
    parser = argparse.ArgumentParser(description="Any bytes to the functions of targets.py, by coverage.")
    parser.add_argument("seconds", type=int, nargs="?", default=60)
    parser.add_argument("--keep", type=Path, default=targets.INPUTS, help="the folder for what fell")
    requested = parser.parse_args()
    requested.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder, dictionary = Path(name, "seeds"), Path(name, "words")
        folder.mkdir()
        dictionary.write_text(targets.words())
        for at, data in enumerate(targets.seeds().values()):
            (folder / str(at)).write_bytes(data)
        options = (f"-max_total_time={requested.seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=2048")
        stored = (f"-dict={dictionary}", f"-artifact_prefix={requested.keep}/", "-print_final_stats=1", str(folder))
        atheris.Setup([sys.argv[0], *options, *stored], targets.every)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
