"""load.py LINES FOLDER: records from a file of JSON lines into ClickHouse's engine (chdb), and questions about them.

Prints one JSON object: what it took, and the times of each question in microseconds, in the order they were asked.
"""
import json
import os
import resource
import sys
import time

from chdb import session

TABLE = """create table logs (
    timestamp DateTime64(6, 'UTC'), level LowCardinality(String), source LowCardinality(String),
    application LowCardinality(String), message String codec(ZSTD(1)), metadata Map(LowCardinality(String), String) codec(ZSTD(1))
) engine = MergeTree order by timestamp"""
LOAD = """insert into logs select * from file('{}', JSONEachRow)
    settings input_format_json_read_numbers_as_strings = 1, date_time_input_format = 'best_effort'"""
QUESTIONS = [
    ("newest 50 of level ERROR", "select * from logs where level = 'ERROR' order by timestamp desc limit 50"),
    ("a rare word: its rows", "select * from logs where message ilike '%quokka%' order by timestamp desc limit 100"),
    ("a rare word: the count", "select count() from logs where message ilike '%quokka%'"),
    ("counts by minute and level", "select toStartOfMinute(timestamp) m, level, count() from logs group by m, level"),
]
ASKED = 9


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(lines, folder):
    engine = session.Session(folder)
    version = engine.query("select version()", "TabSeparated").data().strip()
    engine.query("create database if not exists bench")
    engine.query("use bench")
    engine.query(TABLE)
    began, used = time.monotonic(), cpu()
    engine.query(LOAD.format(lines))
    seconds, cpu_seconds = time.monotonic() - began, cpu() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def number(sql):
        return int(engine.query(sql, "TabSeparated").data().strip())

    rows = number("select count() from logs")
    size = number("select sum(bytes_on_disk) from system.parts where active and table = 'logs'")
    questions = []
    for name, sql in QUESTIONS:
        times = []
        for _ in range(ASKED):
            before = time.monotonic()
            engine.query(sql, "JSONEachRow")
            times.append(round((time.monotonic() - before) * 1e6))
        questions.append([name, times])
    print(json.dumps({"version": version, "rows": rows, "seconds": seconds, "cpu_seconds": cpu_seconds,
                      "peak_bytes": peak, "disk_bytes": size, "questions": questions}), flush=True)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), sys.argv[2])
    # Its engine has been seen to hang when the interpreter ends by itself.
    os._exit(0)
