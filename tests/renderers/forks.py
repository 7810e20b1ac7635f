"""The process that forks workers of rogue.py, or of the module that the argument names.

With "broken" it fails as an import would, and with "threads" it has a second thread.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cropmark.renderers import fork_server, sandbox, worker

if sys.argv[1:] == ["broken"]:
    raise SystemExit("no libvips here")
if sys.argv[1:] == ["threads"]:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()

load_handler = importlib.import_module("prisoner" if sys.argv[1:] == ["prisoner"] else "rogue").load_handler
sandbox.preload()
fork_server.main(lambda: worker.main(load_handler))
