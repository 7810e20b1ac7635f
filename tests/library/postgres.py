"""A real PostgreSQL for tests: a cluster of its own in a scratch folder, on a socket there and on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine

from tests.ports import free_port

USER = "cropmark"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl; None without PostgreSQL."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if (initdb := shutil.which("initdb")) is not None:
        found.append(Path(initdb).resolve().parent)
    return next((path for path in found if (path / "initdb").exists() and (path / "pg_ctl").exists()), None)


def unavailable_reason() -> str | None:
    """The reason why no cluster can run here; None if one can."""
    if binaries() is None:
        return "initdb and pg_ctl are missing"
    if os.geteuid() == 0 and _other_user() is None:
        return "root may not run it, and the user postgres is missing"
    return None


@contextmanager
def cluster(folder: Path, port: int = 0) -> Iterator[str]:
    """The URL of a started server on this port or a free one, without a database at its end.

    It ends as if it had been killed. A folder with the data of an earlier one is used again.
    """
    found = binaries()
    assert found is not None
    data, port = folder / "data", port or free_port()
    if not data.exists():
        data.mkdir(parents=True)
        _let_in(folder)
        _run(found / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off -c shared_buffers=16MB"
    _run(found / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-t", "60", "-o", options, "start")
    try:
        yield f"postgresql://{USER}@127.0.0.1:{port}"
    finally:
        _run(found / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def new_database(server: str, name: str) -> str:
    """An empty database's URL."""
    engine = create_engine(f"{server}/postgres".replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine.dispose()
    return f"{server}/{name}"


def _other_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _let_in(folder: Path) -> None:
    """The folder is the other user's, and may be reached by them."""
    other = _other_user()
    if os.geteuid() != 0 or other is None:
        return
    subprocess.run(["chown", "-R", str(other.pw_uid), str(folder)], check=True)


def _run(*command: object) -> None:
    user = _other_user() if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(part) for part in command],
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
