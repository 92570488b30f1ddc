#!/usr/bin/env python3
"""prometheus.py check | get NAME [LABEL=VALUE…] | list NAME [LABEL]: reads a page of metrics from stdin.

check  is it Prometheus' text format, version 0.0.4, word by word? Prints how many samples there are.
get    the value of the one sample that has these labels (others too); fails if there isn't exactly one
list   the samples of a name, one a line: the value, then the label's value or all labels

A page that isn't well-formed is told on stderr, with its line, and ends with 1.
"""
import math
import re
import sys

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|Inf)|NaN")


class Bad(Exception):
    pass


def need(true, why):
    if not true:
        raise Bad(why)


def labels_of(text):
    """The labels of '{a="b",c="d"}' and what is behind them."""
    labels, at = {}, 1
    while text[at : at + 1] != "}":
        name = LABEL.match(text, at)
        need(name, "no label where one was expected")
        at = name.end()
        need(text[at : at + 2] == '="', "a label without a value in quotes")
        at += 2
        value = ""
        while True:
            need(at < len(text), "a value that does not end")
            c = text[at]
            if c == '"':
                break
            if c == "\\":
                at += 1
                need(text[at : at + 1] in ("\\", '"', "n"), "an unknown escape")
                c = "\n" if text[at] == "n" else text[at]
            value += c
            at += 1
        at += 1
        need(name.group() not in labels, "a label twice")
        labels[name.group()] = value
        need(text[at : at + 1] in (",", "}"), "no comma between labels")
        at += text[at] == ","
    return labels, text[at + 1 :]


def family_of(name, types):
    for end in ("_bucket", "_sum", "_count"):
        if name.endswith(end) and types.get(name[: -len(end)]) in ("histogram", "summary"):
            return name[: -len(end)]
    return name


class Page:
    def __init__(self, data):
        text = data.decode("utf-8")
        need(text.endswith("\n"), "the last line has no end")
        self.types, self.helps, self.samples, self.number = {}, set(), {}, 0
        self.current, self.closed = None, set()
        for line in text[:-1].split("\n"):
            self.number += 1
            if line.startswith("#"):
                self.comment(line)
            else:
                self.sample(line)
        self.number = 0
        self.histograms()

    def enter(self, family):
        if family != self.current:
            need(family not in self.closed, f"{family} stands in two places")
            self.closed.add(self.current)
            self.current = family

    def comment(self, line):
        words = line.split(" ", 3)
        need(words[0] == "#" and len(words) == 4 and NAME.fullmatch(words[2]), "no HELP and no TYPE")
        self.enter(words[2])
        if words[1] == "HELP":
            need(words[2] not in self.helps, "a second HELP")
            self.helps.add(words[2])
        else:
            need(words[1] == "TYPE" and words[3] in TYPES, "no known TYPE")
            need(words[2] not in self.types, "a second TYPE")
            self.types[words[2]] = words[3]

    def sample(self, line):
        name = NAME.match(line)
        need(name, "no name")
        family = family_of(name.group(), self.types)
        need(family in self.types and family in self.helps, f"{family} has no TYPE or no HELP before it")
        self.enter(family)
        rest = line[name.end() :]
        labels, rest = labels_of(rest) if rest.startswith("{") else ({}, rest)
        need(rest.startswith(" ") and NUMBER.fullmatch(rest[1:]), f"no value: {rest!r}")
        value = float(rest[1:])
        kind = self.types[family]
        need(kind not in ("counter", "histogram") or value >= 0, "a counter below 0")
        need(kind != "histogram" or name.group() != family, "a histogram's sample without its ending")
        key = (name.group(), tuple(sorted(labels.items())))
        need(key not in self.samples, "the same sample twice")
        self.samples[key] = value

    def histograms(self):
        for family in [f for f, kind in self.types.items() if kind == "histogram"]:
            rows = {}
            for (name, labels), value in self.samples.items():
                if name == f"{family}_bucket":
                    rest = tuple(pair for pair in labels if pair[0] != "le")
                    rows.setdefault(rest, []).append((float(dict(labels)["le"].replace("Inf", "inf")), value))
            for rest, buckets in rows.items():
                need(buckets == sorted(buckets), f"{family}: bounds that do not ascend")
                need([v for _, v in buckets] == sorted(v for _, v in buckets), f"{family}: buckets that shrink")
                need(buckets[-1][0] == math.inf, f"{family}: no +Inf")
                need(self.samples[(f"{family}_count", rest)] == buckets[-1][1], f"{family}: count is not +Inf's")
                need((f"{family}_sum", rest) in self.samples, f"{family}: no sum")

    def of(self, name):
        return [(dict(labels), value) for (n, labels), value in self.samples.items() if n == name]


def main():
    try:
        page = Page(sys.stdin.buffer.read())
    except (Bad, UnicodeDecodeError) as e:
        sys.exit(f"not Prometheus' text format: {e}")
    what, *rest = sys.argv[1:]
    if what == "check":
        print(len(page.samples))
    elif what == "get":
        wanted = dict(pair.split("=", 1) for pair in rest[1:])
        found = [v for labels, v in page.of(rest[0]) if wanted.items() <= labels.items()]
        if len(found) != 1:
            sys.exit(f"{len(found)} samples of {' '.join(rest)}")
        print(f"{found[0]:.17g}")
    elif what == "list":
        for labels, value in page.of(rest[0]):
            print(f"{value:.17g}", labels.get(rest[1]) if rest[1:] else labels)


main()
