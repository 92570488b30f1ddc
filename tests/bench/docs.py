#!/usr/bin/env python3
"""docs.py - puts what the last runs found into docs/PERFORMANCE.md and docs/COSTS.md.

Between <!-- figures --> and <!-- /figures -->: the machine and the table of `make bench`
($BUILD/bench.json); between <!-- costs --> and <!-- /costs -->: $BUILD/costs.md, between
<!-- year --> and <!-- /year -->: $BUILD/year.md; between <!-- flat --> and
<!-- /flat -->: $BUILD/flat.md. What was not run stays as it is. A part of a bench (`--only` without
`--add`) or a quick one is not put anywhere.
"""

import json
import os
import re

import measures
from run import COLUMNS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", "build")


def read(name):
    try:
        with open(os.path.join(BUILD, name), encoding="utf-8") as f:
            return f.read().strip()
    except FileNotFoundError:
        return None


def figures():
    """The machine and the table; None when the run was not a whole one, but for what has a page of its own."""
    text = read("bench.json")
    found = json.loads(text) if text else {"quick": True}
    ran = set(found.get("parts", []))
    if found.get("quick", True) or not {m[0] for m in measures.ALL} - {"costs", "year"} <= ran:
        return None
    m = found["machine"]
    s3 = f"S3 is {m['s3']}" if m["s3"] else "without S3"
    about = f"{m['date'][:10]}, {m['cpu']}, {m['system']}, SQLite {m['sqlite']}; peer: Litestream {m['peer']}; {s3}. "
    dates = sorted(part["date"] for part in found["parts"].values())
    loads = sorted((part["load"].split()[0] for part in found["parts"].values()), key=float)
    about += f"Measured between {dates[0]} and {dates[-1]}; load before {loads[0]} to {loads[-1]}."
    table = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    table += ["| " + " | ".join(r[c].replace("|", "/") for c in COLUMNS) + " |" for r in found["rows"]]
    return about + "\n\n" + "\n".join(table)


def put(file, name, text):
    path = os.path.join(ROOT, "docs", file)
    if text is None:
        print(f"{file}: nothing new for {name}")
        return
    with open(path, encoding="utf-8") as f:
        before = f.read()
    pattern = rf"(?s)(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    after, count = re.subn(pattern, lambda m: f"{m[1]}{text}\n{m[2]}", before)
    if count != 1:
        raise SystemExit(f"docs.py: {path} must have <!-- {name} --> once")
    with open(path, "w", encoding="utf-8") as f:
        f.write(after)
    print(f"{file}: {name} written")


put("PERFORMANCE.md", "figures", figures())
put("PERFORMANCE.md", "flat", read("flat.md"))
put("COSTS.md", "costs", read("costs.md"))
put("COSTS.md", "year", read("year.md"))
