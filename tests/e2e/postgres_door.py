"""The door of Postgres' protocol, opened by clients that are not ours: psql, psycopg, SQLAlchemy, node-postgres, pgjdbc and psqlODBC.

Npgsql is not among them: it needs .NET, which the machine's packages do not have. What it asks at start is asked in the room's own tests."""

import datetime
import decimal
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import psycopg
import pyodbc
import pytest
import sqlalchemy
from sqlalchemy.dialects import postgresql

GRANARY = os.environ["GRANARY"]
HERE = pathlib.Path(__file__).parent
CERTIFICATE = HERE.parent / "data" / "tls" / "first.pem"
JDBC = "/usr/share/java/postgresql.jar"
# Three that are simulated, and the one with a real past.
CUSTOMERS = 4
ODBC = "/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Door:
    def __init__(self, directory):
        self.directory, self.port = directory, free_port()
        config = directory / "granary.toml"
        config.write_text(
            f'[tls]\ncert = "{CERTIFICATE}"\nkey = "{CERTIFICATE.with_suffix(".key")}"\n[doors]\npostgres = "127.0.0.1:{self.port}"\n'
        )
        self.environment = os.environ | {"GRANARY_CONFIG": str(config)}
        self.log = open(directory / "demo.log", "w+")
        command = [GRANARY, "demo", "--data-dir", directory / "data", "--listen", "127.0.0.1:0", "--customers", "3", "--months", "3"]
        self.process = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)
        self.wait_for("listening on")
        self.key = self.add_key("--name", "analyst")

    def wait_for(self, words):
        for _ in range(600):
            self.log.seek(0)
            text = self.log.read()
            if words in text:
                return
            assert self.process.poll() is None, text
            time.sleep(0.5)
        raise AssertionError(text)

    def call(self, *arguments):
        command = [GRANARY, *arguments, "--data-dir", str(self.directory / "data")]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def add_key(self, *arguments):
        return self.call("api-key", "add", "--scope", "sql", *arguments)

    @property
    def parts(self):
        return {
            "host": "localhost",
            "port": self.port,
            "user": self.key["user"],
            "password": self.key["key"],
            "dbname": self.key["database"],
            "sslmode": "verify-full",
            "sslrootcert": str(CERTIFICATE),
        }


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    directory = tmp_path_factory.mktemp("door")
    directory.chmod(0o755)
    opened = Door(directory)
    yield opened
    opened.process.send_signal(signal.SIGINT)
    opened.process.wait(timeout=60)


def psql(door, *commands, key=None):
    environment = os.environ | {"PGPASSWORD": key or door.key["key"], "PGSSLROOTCERT": str(CERTIFICATE), "PSQLRC": "/dev/null"}
    line = door.key["psql"].removeprefix("psql ").strip('"').replace("sslmode=require", "sslmode=verify-full")
    arguments = [part for command in commands for part in ("-c", command)]
    done = subprocess.run(["psql", line, "-X", "-v", "ON_ERROR_STOP=1", *arguments], env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_psql_connects_by_the_line_that_the_key_came_with(door):
    code, shown = psql(door, "select count(*) as customers from lake.customers", "\\conninfo")
    assert code == 0 and "TLSv1.3" in shown and door.key["user"] in shown, shown
    assert f"         {CUSTOMERS}" in shown


def test_psql_shows_tables_columns_and_comments(door):
    code, shown = psql(door, "\\dn", "\\dv", "\\dt lake.*", "\\d customer_months", "\\d+ lake.customers", "\\l", "\\du")
    assert code == 0, shown
    for words in ("warehouse", "customer_months", "customers", "period_start_on", "timestamp with time zone", "numeric("):
        assert words in shown, (words, shown)
    code, shown = psql(door, "select * from nosuch")
    assert code == 1 and "42P01" not in shown and "not found" in shown, shown
    assert psql(door, "select 1", key="grn_live_wrong")[0] == 2


def test_psql_asks_as_of_a_closed_month(door):
    month = psql(door, "select max(period) from lake.periods where state = 'closed'")[1].splitlines()[2].strip()
    code, shown = psql(door, f"set granary.as_of = '{month}'", "show granary.as_of", "select count(*) as n from lake.customers", "reset granary.as_of")
    assert code == 0 and month in shown, (month, shown)
    code, shown = psql(door, "set granary.as_of = '1999-01'", "select 1 from lake.customers")
    assert code == 1 and "1999-01" in shown, shown


def test_psycopg_sends_and_takes_typed_values(door):
    with psycopg.connect(**door.parts) as connection:
        sql = "select code, created_at, cast(%s as decimal(20, 4)) as price, %s::date as day, %s::int8 + 1 as n from lake.customers where code = any(%s) order by 1"
        codes = [row[0] for row in connection.execute("select code from lake.customers order by 1").fetchall()]
        for binary in (False, True):
            rows = connection.execute(sql, (decimal.Decimal("12.3456"), datetime.date(2025, 10, 1), 41, codes[:2]), binary=binary).fetchall()
            assert [row[0] for row in rows] == codes[:2]
            code, created, price, day, number = rows[0]
            assert (price, day, number) == (decimal.Decimal("12.3456"), datetime.date(2025, 10, 1), 42)
            assert created.tzinfo is not None
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("select * from nosuch")
        connection.rollback()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("delete from lake.customers")
        connection.rollback()
        total = sum(1 for _ in connection.cursor().stream("select value from generate_series(1, 50000)"))
        assert total == 50_000
        assert connection.info.server_version == 160004


def test_sqlalchemy_reflects_and_asks(door):
    url = sqlalchemy.URL.create("postgresql+psycopg", door.key["user"], door.key["key"], "localhost", door.port, door.key["database"])
    engine = sqlalchemy.create_engine(url, connect_args={"sslmode": "verify-full", "sslrootcert": str(CERTIFICATE)})
    inspector = sqlalchemy.inspect(engine)
    assert {"lake", "warehouse"} <= set(inspector.get_schema_names())
    assert "customers" in inspector.get_table_names(schema="lake")
    assert inspector.default_schema_name == "warehouse"
    names = inspector.get_table_names() + inspector.get_view_names()
    assert "customer_months" in names
    columns = {column["name"]: column for column in inspector.get_columns("customers", schema="lake")}
    assert isinstance(columns["created_at"]["type"], postgresql.TIMESTAMP) and columns["created_at"]["type"].timezone
    months = sqlalchemy.Table("customer_months", sqlalchemy.MetaData(), autoload_with=engine)
    assert months.comment and months.c.customer_code.comment
    with engine.connect() as connection:
        query = sqlalchemy.select(months.c.customer_code, sqlalchemy.func.count()).group_by(months.c.customer_code).order_by(months.c.customer_code)
        assert len(connection.execute(query).all()) == CUSTOMERS
        assert connection.execute(sqlalchemy.select(months).limit(2)).mappings().all()


def test_node_postgres_asks_with_values(door):
    environment = os.environ | {"DOOR": json.dumps({**door.parts, "database": door.key["database"]}), "NODE_PATH": os.environ["NODE_PATH"]}
    done = subprocess.run(["node", HERE / "postgres_door.cjs"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["count"] == 1 and answer["refused"] == "25006" and answer["cursor"] == [1000, 1000, 500]


def test_pgjdbc_reads_metadata_and_rows(door, tmp_path):
    parts = door.parts
    url = f"jdbc:postgresql://localhost:{door.port}/{parts['dbname']}?sslmode=verify-full&sslrootcert={CERTIFICATE}"
    command = ["java", "-cp", JDBC, HERE / "PostgresDoor.java", url, parts["user"]]
    environment = os.environ | {"PGPASSWORD": parts["password"], "TZ": "Europe/Berlin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "table lake.customers TABLE" in lines, lines
    assert any(line.startswith("column created_at timestamptz") for line in lines), lines
    assert "rows 2500" in lines and "typed 42 12.3456 2025-10-01" in lines and "refused 25006" in lines, lines


def test_odbc_asks_as_excel_does(door):
    parts = door.parts
    line = (
        f"DRIVER={ODBC};SERVER=localhost;PORT={door.port};DATABASE={parts['dbname']};UID={parts['user']};PWD={parts['password']};"
        f"SSLMODE=verify-full;PQOPT={{sslrootcert={CERTIFICATE}}}"
    )
    with pyodbc.connect(line, autocommit=True) as connection:
        cursor = connection.cursor()
        assert "customers" in {row.table_name for row in cursor.tables(schema="lake")}
        columns = {row.column_name: row.type_name for row in cursor.columns(table="customers", schema="lake")}
        assert columns["created_at"] == "timestamptz", columns
        rows = cursor.execute("select code, created_at from lake.customers where code <> ? order by code", "NOSUCH").fetchall()
        assert len(rows) == CUSTOMERS and isinstance(rows[0].created_at, datetime.datetime)
        with pytest.raises(pyodbc.Error, match="25006|read-only"):
            cursor.execute("delete from lake.customers")


def test_a_revoked_key_ends_its_connection(door):
    key = door.add_key("--name", "leaver")
    with psycopg.connect(**{**door.parts, "user": key["user"], "password": key["key"]}) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        door.call("api-key", "revoke", key["id"], "--reason", "left")
        with pytest.raises(psycopg.OperationalError, match="not valid any more"):
            connection.execute("select 1")
