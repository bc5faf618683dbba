"""Arrow Flight SQL as analysts use it: ADBC's driver, which is not ours, against a server of ours."""

import json
import pathlib
import subprocess
import threading

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import pyarrow
import pyarrow.compute
import pytest
from adbc_driver_flightsql import DatabaseOptions

from served import DATA_DIR, GRANARY, command, key, served

RUNS = "select customer_code, count(*) as runs from stg_metering__backup_runs group by 1 order by 1"
LONG = "select a.value * 1000 + b.value as n from generate_series(0, 4999) as a cross join generate_series(0, 999) as b"
ENDLESS = "select a.value as n from generate_series(0, 9999999) as a cross join generate_series(0, 99) as b"


@pytest.fixture(scope="module")
def server():
    with served(["flight"]) as (process, doors):
        yield process, doors["flight"]


@pytest.fixture(scope="module")
def msp_key():
    return key("sql", "billing.read")


def connect(uri, secret, **headers):
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {secret}"}
    options |= {f"{DatabaseOptions.RPC_CALL_HEADER_PREFIX.value}{name.replace('_', '-')}": value for name, value in headers.items()}
    return flight.connect(uri, db_kwargs=options, autocommit=True)


def ask(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def query(sql, *arguments):
    return json.loads(command("query", sql, "--format", "json", "--reason", "end-to-end test", *arguments))


@pytest.fixture
def connection(server, msp_key):
    with connect(server[1], msp_key) as connection:
        yield connection


def test_an_answer_is_that_of_the_command(connection):
    for sql in [RUNS, "select * from revenue_by_month order by period", "select * from invoice_lines order by line_id limit 50"]:
        table, expected = ask(connection, sql), query(sql)
        assert table.num_rows == len(expected) > 0
        assert table.column_names == list(expected[0])
        for name in table.column_names:
            if pyarrow.types.is_integer(table.schema.field(name).type):
                assert table[name].to_pylist() == [row[name] for row in expected], name
            if pyarrow.types.is_decimal(table.schema.field(name).type):
                assert [value and str(value) for value in table[name].to_pylist()] == [row[name] for row in expected], name


def test_a_login_by_name_takes_the_key_as_its_password(server, msp_key):
    options = {adbc_driver_manager.DatabaseOptions.USERNAME.value: "anybody", adbc_driver_manager.DatabaseOptions.PASSWORD.value: msp_key}
    with flight.connect(server[1], db_kwargs=options, autocommit=True) as connection:
        assert ask(connection, "select 1 as n").to_pylist() == [{"n": 1}]
    options[adbc_driver_manager.DatabaseOptions.PASSWORD.value] = msp_key + "x"
    with pytest.raises(adbc_driver_manager.Error, match="(?i)unauthenticated|key"):
        with flight.connect(server[1], db_kwargs=options, autocommit=True) as connection:
            ask(connection, "select 1 as n")


def test_values_go_into_their_places(connection):
    [first, *_] = ask(connection, RUNS).to_pylist()
    sql = "select count(*) as runs from stg_metering__backup_runs where customer_code = $1 and transferred_bytes >= $2"
    assert ask(connection, sql, (first["customer_code"], 0)).to_pylist() == [{"runs": first["runs"]}]
    assert ask(connection, sql, ("' or true --", 0)).to_pylist() == [{"runs": 0}]


def test_the_catalog_is_that_of_the_grant(server, connection):
    def tables(connection):
        found = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        schemas = [schema for catalog in found for schema in catalog["catalog_db_schemas"]]
        return {f"{schema['db_schema_name']}.{table['table_name']}": table for schema in schemas for table in schema["db_schema_tables"]}

    everything = tables(connection)
    assert {"warehouse.margin", "warehouse.mrr_movements", "lake.backup_runs"} <= set(everything)
    columns = [column["column_name"] for column in everything["warehouse.mrr_movements"]["table_columns"]]
    assert columns == ask(connection, "select * from mrr_movements limit 0").column_names
    [customer, *_] = ask(connection, RUNS).to_pylist()
    with connect(server[1], key("sql", customer=customer["customer_code"])) as confined:
        own = tables(confined)
        assert "warehouse.invoice_lines" in own and not {"warehouse.margin", "warehouse.mrr_movements"} & set(own)
        assert ask(confined, RUNS).to_pylist() == [customer]
        with pytest.raises(adbc_driver_manager.Error, match="not found"):
            ask(confined, "select * from margin")
    schema = connection.adbc_get_table_schema("invoice_lines", db_schema_filter="warehouse")
    assert schema.names == ask(connection, "select * from invoice_lines limit 0").column_names
    assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
    assert connection.adbc_get_info()["vendor_name"] == "Granary"


def test_the_lake_is_read_as_of_a_closed_month(server, msp_key, connection):
    [*_, last] = ask(connection, "select distinct period from revenue_by_month order by period").to_pylist()
    with connect(server[1], msp_key, granary_as_of=last["period"]) as past:
        sql = "select count(*) as n from invoice_lines"
        assert ask(past, sql).to_pylist() == query(sql, "--as-of", last["period"])
    with connect(server[1], msp_key, granary_as_of="1999-01") as past, pytest.raises(adbc_driver_manager.Error, match="1999-01"):
        ask(past, RUNS)


def test_nothing_is_changed(connection):
    for sql in ["drop table invoice_lines", "delete from invoice_lines", "copy (select 1) to '/tmp/stolen.csv'", "set a = 1"]:
        with pytest.raises(adbc_driver_manager.Error, match="read-only"):
            ask(connection, sql)
        with connection.cursor() as cursor, pytest.raises(adbc_driver_manager.Error, match="read-only"):
            cursor.executescript(sql)
    with connection.cursor() as cursor, pytest.raises(adbc_driver_manager.Error):
        cursor.adbc_ingest("mine", pyarrow.table({"n": [1]}), mode="create")


def resident_kib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmRSS:")))


def test_a_long_answer_streams_while_the_server_stays_small(server, connection):
    with connection.cursor() as cursor:
        cursor.execute(LONG)
        reader = cursor.fetch_record_batch()
        before, most, rows, total = resident_kib(server[0]), 0, 0, 0
        for batch in reader:
            rows += batch.num_rows
            total += pyarrow.compute.sum(batch["n"]).as_py()
            most = max(most, resident_kib(server[0]))
    assert (rows, total) == (5_000_000, 4_999_999 * 5_000_000 // 2)
    print(f"5,000,000 rows; the server grew by {(most - before) // 1024} MiB")
    assert most - before < 256 << 10


def test_a_question_ends_with_whoever_asked(connection):
    for _ in range(3):
        with connection.cursor() as cursor:
            cursor.execute(ENDLESS)
            reader = cursor.fetch_record_batch()
            assert reader.read_next_batch().num_rows > 0
            cursor.adbc_cancel()
            with pytest.raises((adbc_driver_manager.Error, pyarrow.ArrowException, OSError)):
                while True:
                    reader.read_next_batch()
    assert ask(connection, "select 1 as n").to_pylist() == [{"n": 1}]


def test_several_ask_at_once(server, msp_key):
    answers = []

    def run():
        with connect(server[1], msp_key) as connection:
            answers.append(ask(connection, "select count(*) as n from generate_series(1, 1000000) as a").to_pylist())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[{"n": 1_000_000}]] * 4


def test_a_key_that_was_revoked_asks_nothing_more(server):
    made = json.loads(command("api-key", "add", "--scope", "sql"))
    with connect(server[1], made["key"]) as connection:
        assert ask(connection, "select 1 as n").num_rows == 1
        command("api-key", "revoke", made["id"], "--reason", "end-to-end test")
        with pytest.raises(adbc_driver_manager.Error, match="(?i)unauthenticated|revoked|key"):
            ask(connection, "select 1 as n")
    assert made["key"] not in "".join(server[0].log)


def test_what_was_asked_is_in_the_log(connection):
    ask(connection, "select 4711 as ticket")
    noted = json.loads(command("audit", "list", "--action", "warehouse.query", "--format", "json"))
    assert any(row["detail"] == {"sql": "select 4711 as ticket", "door": "flight"} for row in noted), noted[:3]


def test_other_machines_come_in_behind_a_certificate_alone(msp_key, tmp_path):
    refused = subprocess.run(
        [GRANARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", DATA_DIR],
        env={"PATH": "/usr/bin:/bin", "GRANARY_DOORS_FLIGHT": "0.0.0.0:0"}, capture_output=True, text=True, timeout=60,
    )
    assert refused.returncode == 2 and "doors.flight" in refused.stderr and "tls.cert" in refused.stderr, refused
    tls = pathlib.Path(__file__).parent.parent / "data" / "tls"
    config = tmp_path / "granary.toml"
    config.write_text(f'[tls]\ncert = "{tls}/first.pem"\nkey = "{tls}/first.key"\n')
    with served(["flight"], config) as (_, doors):
        assert doors["flight"].startswith("grpc+tls://")
        uri = doors["flight"].replace("127.0.0.1", "localhost")
        options = {
            DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {msp_key}",
            DatabaseOptions.TLS_ROOT_CERTS.value: (tls / "first.pem").read_text(),
        }
        with flight.connect(uri, db_kwargs=options, autocommit=True) as connection:
            assert ask(connection, "select 1 as n").to_pylist() == [{"n": 1}]
        with pytest.raises(adbc_driver_manager.Error):
            ask(connect(uri.replace("grpc+tls", "grpc"), msp_key), "select 1 as n")
