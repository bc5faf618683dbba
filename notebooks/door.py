"""What lies between a notebook and the server: a question in SQL, answered as a data frame."""

import os

import polars


def ask(sql, as_of=os.environ.get("GRANARY_AS_OF")):
    """Asks through the door that GRANARY_DOOR names, with the key in GRANARY_KEY."""
    door, key = os.environ["GRANARY_DOOR"], os.environ["GRANARY_KEY"]
    return (_by_flight if door.startswith("grpc") else _by_postgres)(door, key, sql, as_of)


def _by_flight(door, key, sql, as_of):
    from adbc_driver_flightsql import DatabaseOptions, dbapi

    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {key}"}
    if as_of:
        options[f"{DatabaseOptions.RPC_CALL_HEADER_PREFIX.value}granary-as-of"] = as_of
    with dbapi.connect(door, db_kwargs=options, autocommit=True) as connection:
        return polars.read_database(sql, connection)


def _by_postgres(door, key, sql, as_of):
    import psycopg

    with psycopg.connect(door, password=key, autocommit=True) as connection:
        if as_of:
            connection.execute(f"set granary.as_of = '{as_of}'")
        return polars.read_database(sql, connection, infer_schema_length=None)
