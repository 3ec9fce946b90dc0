#!/usr/bin/env python3
"""Counts the instructions that bad lines of 1 KiB and of 1 MiB cost per byte, for every format and for detection.

usage: work.py EXAMPLE [--suspects N] [--table FILE]

EXAMPLE is the built `record/examples/work.rs`; `make work` builds and runs all. The clock looks at every shape of a line
first; callgrind, which is fifty times slower, then counts the N of each mode whose cost per byte grew most. Prints for each
mode the shape that is worst by that count. Ends with status 1 where one costs more than twice as much. Needs valgrind."""

import argparse
import collections
import glob
import os
import re
import subprocess
import sys
import tempfile

RATIO_MAX = 2.0
SUSPECTS = 12

Case = collections.namedtuple("Case", "number mode head flood short_bytes long_bytes short_ns long_ns")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"work.py: {command[0]} failed:\n{done.stderr[-2000:]}")
    return [Case(*line.split("\t")) for line in done.stdout.splitlines()]


def instructions(path):
    with open(path, encoding="utf-8", errors="replace") as dump:
        return int(re.findall(r"^(?:totals|summary): (\d+)", dump.read(), re.MULTILINE)[-1])


def count(example, numbers):
    """The cases of these numbers, each with its two counts."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "work")
        cases = run([
            "valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, "--dump-line=no", "--dump-after=*measured*",
            example, *numbers,
        ])
        dumps = sorted(glob.glob(out + ".*"), key=lambda path: int(path.rsplit(".", 1)[1]))
        counts = [instructions(path) for path in dumps][: 3 * len(cases)]
    if len(counts) != 3 * len(cases):
        sys.exit(f"work.py: {len(cases)} cases and {len(counts)} dumps")
    # The first of three has what came before the call in it, too.
    return zip(cases, counts[1::3], counts[2::3])


def growth(case):
    return float(case.long_ns) / float(case.long_bytes) / max(float(case.short_ns) / float(case.short_bytes), 0.01)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("example")
    options.add_argument("--suspects", type=int, default=SUSPECTS)
    options.add_argument("--table", help="write the table to this file, too")
    options = options.parse_args()

    modes = collections.OrderedDict()
    for case in run([options.example]):
        modes.setdefault(case.mode, []).append(case)
    suspects = [sorted(cases, key=growth, reverse=True)[: options.suspects] for cases in modes.values()]
    numbers = sorted((case.number for cases in suspects for case in cases), key=int)

    worst = {}
    for case, short, long in count(options.example, numbers):
        per_byte = short / int(case.short_bytes), long / int(case.long_bytes)
        found = (per_byte[1] / per_byte[0], *per_byte, case.head, case.flood)
        worst[case.mode] = max(worst.get(case.mode, found), found)
    lines = [
        "| mode | shapes | counted | most growth | at 1 KiB | at 1 MiB | the line's head | its flood |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for mode, cases in modes.items():
        ratio, short, long, *texts = worst[mode]
        head, flood = (text.replace("|", "\\|").replace("`", "'") for text in texts)
        counted = min(len(cases), options.suspects)
        lines.append(f"| `{mode}` | {len(cases)} | {counted} | {ratio:.2f} | {short:.1f} | {long:.1f} | `{head}` | `{flood}` |")
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
