#!/usr/bin/env python3
"""Reads a store's files with other programs and compares them with an export.

    read_parquet.py STORE_DIR EXPORT.ndjson

STORE_DIR holds the manifest; EXPORT.ndjson is what `GET /logs/export?format=ndjson` gave while nothing was written.
Needs pyarrow; with duckdb, the SQL of docs/STORAGE.md is run too.
"""
import json
import pathlib
import sys

import pyarrow.parquet as pq


def live_files(store):
    """The files that the manifest names: others may be leftovers."""
    lines = (store / "manifest").read_text().splitlines()
    assert lines[0] == "logboom-manifest 1", lines[0]
    return [store / line.split(" ")[1] for line in lines if line.startswith("file ")]


def uuid(micros, origin, counter):
    """The id from the columns that it is kept in (see docs/STORAGE.md)."""
    ms, us = divmod(micros, 1000)
    high = ms << 16 | 7 << 12 | -(-us * 4096 // 1000)
    text = f"{high << 64 | 2 << 62 | origin << 24 | counter:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def records(path):
    """Every record of a file, in its order."""
    table = pq.read_table(path)
    names = table.column_names
    micros = table.column("timestamp").cast("int64").to_pylist()
    columns = {name: table.column(name).to_pylist() for name in names if name != "timestamp"}
    keys = [name for name in names if name.startswith("metadata.")]
    previous = ""
    for row, time in enumerate(micros):
        metadata = json.loads(columns["metadata"][row] or "{}")
        for key in keys:
            if (value := columns[key][row]) is not None:
                assert key.removeprefix("metadata.") not in metadata
                metadata[key.removeprefix("metadata.")] = value
        id = uuid(time, columns["origin"][row], columns["counter"][row])
        assert previous < id, f"{path}: row {row} is out of order"
        previous = id
        record = {name: columns[name][row] for name in ("level", "source", "application", "message")}
        yield id, record | {"metadata": metadata}


def check_with_duckdb(files, want):
    """The SQL of docs/STORAGE.md, as anyone would paste it."""
    import duckdb

    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "STORAGE.md"
    sql = page.read_text().split("```sql\n")[1].split("```")[0]
    names = ", ".join(f"'{path}'" for path in files)
    sql = sql.replace("'data/store/*.parquet'", f"[{names}]")
    rows = duckdb.sql(f"SELECT id FROM ({sql})").fetchall()
    assert {str(row[0]) for row in rows} == set(want), "DuckDB's ids differ"
    assert len(rows) == len(want)


def main():
    store, export = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    want = {}
    for line in export.read_text().splitlines():
        record = json.loads(line)
        want[record["id"]] = {key: value for key, value in record.items() if key not in ("id", "timestamp")}
    files = live_files(store)
    kinds = {any(name.startswith("metadata.") for name in pq.read_schema(path).names) for path in files}
    assert kinds == {True, False}, "files of the flush and files of compaction are to be read"
    got = {}
    for path in files:
        for id, record in records(path):
            assert id not in got, f"{id} is there twice"
            got[id] = record
    assert got.keys() == want.keys(), f"{len(got)} rows in the files, {len(want)} in the export"
    for id, record in want.items():
        assert got[id] == record, f"{id}: {got[id]} != {record}"
    checked = "pyarrow"
    try:
        import duckdb  # noqa: F401
    except ImportError:
        pass
    else:
        if files:
            check_with_duckdb(files, want)
            checked += " and DuckDB"
    print(f"{len(got)} rows in {len(files)} files are the same, read with {checked}")


main()
