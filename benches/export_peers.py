"""Peers of the export: the rows of `backup_runs` of some schemas, sorted, as plain zstd Parquet. duckdb|adbc FOLDER CONNECTIONS COLUMNS SCHEMA…"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROGRAM, FOLDER, CONNECTIONS, COLUMNS, *SCHEMAS = sys.argv[1:]
URL, FOLDER, CONNECTIONS = os.environ["URL"], Path(FOLDER), int(CONNECTIONS)


def duckdb_postgres():
    import duckdb
    import duckdb_extension_postgres_scanner

    [extension] = Path(duckdb_extension_postgres_scanner.__file__).parent.rglob("*.duckdb_extension")
    connection = duckdb.connect(config={"threads": CONNECTIONS})
    connection.execute(f"load '{extension}'")
    connection.execute(f"set pg_connection_limit = {CONNECTIONS}")
    url = URL.replace("'", "''")
    connection.execute(f"attach '{url}' as pg (type postgres, read_only)")
    for schema in SCHEMAS:
        rows = f"select {COLUMNS} from pg.{schema}.backup_runs order by ended_at, id"
        connection.execute(f"copy ({rows}) to '{FOLDER / schema}.parquet' (format parquet, compression zstd)")


def adbc(schemas):
    import adbc_driver_postgresql.dbapi
    import pyarrow.parquet

    with adbc_driver_postgresql.dbapi.connect(URL) as connection, connection.cursor() as cursor:
        for schema in schemas:
            cursor.execute(f"select {COLUMNS} from {schema}.backup_runs order by ended_at, id")
            reader = cursor.fetch_record_batch()
            with pyarrow.parquet.ParquetWriter(FOLDER / f"{schema}.parquet", reader.schema, compression="zstd") as writer:
                for batch in reader:
                    writer.write_batch(batch)


if PROGRAM == "duckdb":
    duckdb_postgres()
else:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(adbc, [SCHEMAS[share::CONNECTIONS] for share in range(CONNECTIONS)]))
