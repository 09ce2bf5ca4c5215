"""A PostgreSQL for tests: the one of DOSEWELL_TEST_DATABASE_URL, or one of its own, started from Debian's packages on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipelines.servers import free_port

PASSWORD = "plate-reader"   # of the cluster that is made for the tests and listens on loopback alone
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a database in which others may be made. Skips the test where there is no PostgreSQL."""
    given = os.environ.get("DOSEWELL_TEST_DATABASE_URL", "")
    if given:
        yield given
        return
    if not PROGRAMS and not shutil.which("initdb"):
        pytest.skip("no PostgreSQL: install it (Debian: postgresql), or name a database by DOSEWELL_TEST_DATABASE_URL")
    programs, user = PROGRAMS[-1].parent if PROGRAMS else Path(str(shutil.which("initdb"))).parent, _user()
    folder, port = Path(tempfile.mkdtemp(prefix="dosewell-postgres-")), free_port()
    (folder / "password").write_text(PASSWORD)
    for path in (folder, folder / "password"):
        shutil.chown(path, user=user)

    def run(program: str, *words: str) -> None:
        subprocess.run([programs / program, *words], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    try:
        run("initdb", "-D", f"{folder}/data", "-U", "dosewell", "-A", "scram-sha-256", f"--pwfile={folder}/password", "--no-sync")
        run("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o",
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off", "start")
        yield f"postgresql+psycopg://dosewell:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        if (folder / "data" / "postmaster.pid").is_file():
            run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _user() -> str | None:
    """PostgreSQL does not run as root: the user that its package made. None: the one who runs the tests."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres'; name a database by DOSEWELL_TEST_DATABASE_URL")


def new_database(url: str) -> str:
    """The URL of an empty database beside the one of `url`."""
    name = f"dosewell_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)
