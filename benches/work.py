#!/usr/bin/env python3
"""Counts the instructions that bad lines of 1 KiB and of 1 MiB cost per byte, for every format and for detection.

usage: work.py EXAMPLE [--table FILE]

EXAMPLE is the built `record/examples/work.rs`; `make work` builds and runs all. Prints, for each format, the shape whose
cost per byte grows most from short to long. Ends with status 1 where one costs more than twice as much. Needs valgrind."""

import argparse
import collections
import glob
import os
import re
import subprocess
import sys
import tempfile

RATIO_MAX = 2.0


def instructions(path):
    with open(path, encoding="utf-8", errors="replace") as dump:
        return int(re.findall(r"^(?:totals|summary): (\d+)", dump.read(), re.MULTILINE)[-1])


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("example")
    options.add_argument("--table", help="write the table to this file, too")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [
                "valgrind", "--tool=callgrind", "--callgrind-out-file=" + os.path.join(folder, "work"),
                "--zero-before=*measured*", "--dump-after=*measured*", "--dump-line=no",
                options.example,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if run.returncode != 0:
            sys.exit("work.py: valgrind failed:\n" + run.stderr[-2000:])
        cases = [line.split("\t") for line in run.stdout.splitlines()]
        dumps = sorted(glob.glob(os.path.join(folder, "work.*")), key=lambda path: int(path.rsplit(".", 1)[1]))
        counts = [instructions(path) for path in dumps][: 2 * len(cases)]
    if len(counts) != 2 * len(cases):
        sys.exit(f"work.py: {len(cases)} cases and {len(counts)} dumps")

    worst = collections.OrderedDict()
    number = collections.Counter()
    for case, short, long in zip(cases, counts[::2], counts[1::2]):
        mode, head, flood, tail, short_bytes, long_bytes = case
        per_byte = short / int(short_bytes), long / int(long_bytes)
        number[mode] += 1
        found = (per_byte[1] / per_byte[0], *per_byte, head, flood)
        worst[mode] = max(worst.get(mode, found), found)
    lines = [
        "| mode | shapes | most growth | at 1 KiB | at 1 MiB | the line's head | its flood |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode, (ratio, short, long, head, flood) in worst.items():
        cells = [text.replace("|", "\\|").replace("`", "'") for text in (head, flood)]
        lines.append(f"| `{mode}` | {number[mode]} | {ratio:.2f} | {short:.1f} | {long:.1f} | `{cells[0]}` | `{cells[1]}` |")
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if options.table:
        with open(options.table, "w", encoding="utf-8") as out:
            out.write(table)
    bad = [mode for mode, found in worst.items() if found[0] > RATIO_MAX]
    if bad:
        sys.exit(f"work.py: more than {RATIO_MAX} times the instructions per byte: {', '.join(bad)}")


if __name__ == "__main__":
    main()
