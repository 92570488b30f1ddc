#!/usr/bin/env python3
"""argv.py PROGRAM SEED COUNT: random command lines for a program of commands, in the folder it is started in.

Commands and flags are what PROGRAM says of itself in its help, so that a new one is in here once it is there. In the
folder are app.db, broken.db, replica/ and litestream.yml; the words are their names, URLs of folders, numbers, times and
nonsense. Nothing names a server or a file elsewhere, and what a flag would run is harmless: EXEC.

Each command line must end with a code of docs/EXIT-CODES.md and not by a signal, with a line on stderr that begins with
"Error: " wherever the code isn't 0, and without a report of a sanitiser. What still runs after a moment is asked to end
by SIGTERM, and must end. The codes that were seen are printed, with how often.
"""
import collections
import os
import random
import re
import signal
import subprocess
import sys

CODES = set(range(10))
EXEC = ["true", "false", "exit 3", "sleep 0.1"]
MOMENT, PATIENCE = 0.7, 60
FLAG = re.compile(r"^    -(\S+) ?([A-Z][A-Z-]*)?(?: |$)", re.M)
REPORT = re.compile(rb"Sanitizer|runtime error:|\*\*\* |Assertion|Read-only file system")


class Words:
    """What may stand in a command line."""

    def __init__(self, chance):
        here = os.getcwd()
        self.chance = chance
        # Half of the lines are made with some sense, so that not all of them end at their first word.
        self.careful = False
        self.names = ["app.db", "./app.db", here + "/app.db", "broken.db", "nothing.db", "replica", "litestream.yml",
                      "new/folder/x.db", ".", "app.db-wal"]
        self.urls = [f"file://{here}/{name}" for name in ("replica", "replica", "empty", "app.db", "a%20b?c=d")]
        self.odd = [b"", b"-", b"--", b"-5", b"0", b"1", b"99999999999999999999", b"\xff\xfe", b"\x1b[31m", b"x" * 5000,
                    b"s3://", b"gs://bucket/x", b"file://relative", b"s3:", b"one\ntwo", b"%s%n", b"=", b"~", b"all",
                    b"2026-01-01T00:00:00Z", b"2999-01-01T00:00:00Z", b"0000000000000001", b"1h", b"1.5s", b"24h", b"-1s",
                    b"5MiB", b"info", b"debug", b"quick", b"full", b"true", b"false", b"file", b"0600"]

    def argument(self):
        kind = self.chance.random()
        if kind < 0.45:
            return self.chance.choice(self.names[:2] if self.careful else self.names)
        return self.chance.choice(self.urls if kind < 0.85 or self.careful else self.odd)

    def value(self, shown):
        """For a flag whose value help shows as `shown`."""
        fitting = {"PATH": self.names, "DIR": ["meta", "new"], "FILE": self.names, "N": ["0", "1", "2", "9", "-1"],
                   "TIME": ["1s", "30s", "4h", "2026-01-01T00:00:00Z"], "SIZE": ["5MiB", "64MiB"], "LEVEL": ["info", "debug"],
                   "URL": self.urls, "NAME": ["file"], "MODE": ["0640", "quick", "none"],
                   "TXID": ["0000000000000001", "1"], "INDEX": ["00000000"], "APP": ["app"],
                   "GENERATION": ["0123456789abcdef"]}.get(shown, ["1"] if self.careful else None)
        if fitting and (self.careful or self.chance.random() < 0.7):
            return self.chance.choice(fitting)
        return self.chance.choice(self.odd)


def help_of(program, *words):
    return subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout


def commands_of(program):
    """Each command with whether it takes arguments, its flags and how their values are shown (None: they have none)."""
    names = re.findall(r"^    ([a-z]+) ", help_of(program, "help").split("Commands:")[1], re.M)
    # Not in the list, because they are for the plugin and for litestreamd.
    names += ["ctl", "job"]
    found = {}
    for name in names:
        text = help_of(program, name, "-help")
        usage = re.search(r"^Usage:\n\n +(.*)", text, re.M)[1]
        flags = [(flag, shown or None) for flag, shown in FLAG.findall(text)]
        found[name] = re.search("[A-Z]{2}", usage) is not None, flags
    return found


def flag_words(words, chance, flag, shown):
    dash = chance.choice(["-", "--"])
    if "exec" in flag:
        # Always with a value of its own, so that no other word can become it.
        return [f"{dash}{flag}={chance.choice(EXEC)}"]
    if shown is None:
        return [dash + flag + ("" if words.careful else chance.choice(["", "", "=true", "=false", "=", "=maybe"]))]
    value = os.fsencode(words.value(shown))
    if chance.random() < 0.5:
        return [os.fsencode(f"{dash}{flag}=") + value]
    return [dash + flag] + ([value] if chance.random() < 0.95 else [])


def slip(chance, flag):
    at = chance.randrange(len(flag))
    wrong = flag[:at] + chance.choice("abcxyz") + flag[at + 1 :]
    return "nonsense" if "exec" in wrong else wrong


def make_line(words, chance, commands):
    name = chance.choice(list(commands))
    line = [name]
    takes_some, flags = commands[name]
    words.careful = chance.random() < 0.5
    if words.careful:
        for flag in chance.sample(flags, min(len(flags), chance.choice([0, 1, 1, 2]))):
            line += flag_words(words, chance, *flag)
        line += [words.argument() for _ in range(chance.choice([0, 1, 1, 1, 2]) if takes_some else 0)]
        return [os.fsencode(word) for word in line]
    if chance.random() < 0.05:
        line = [chance.choice(["", "help", "-h", "--version", "-config", "restor", "-\xff"])]
    for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 4, 6])):
        kind = chance.random()
        if kind < 0.45 and flags:
            line += flag_words(words, chance, *chance.choice(flags))
        elif kind < 0.5 and flags:
            line.append("-" + slip(chance, chance.choice(flags)[0]))
        elif kind < 0.53:
            line.append(chance.choice(["--", "-h", "---", "-="]))
        else:
            line.append(words.argument())
    return [os.fsencode(word) for word in line]


def run(program, line):
    """Its exit code and what it wrote on stderr; ends what would run on."""
    child = subprocess.Popen([os.fsencode(program), *line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    asked = False
    try:
        _, errors = child.communicate(timeout=MOMENT)
    except subprocess.TimeoutExpired:
        asked = True
        child.terminate()
        try:
            _, errors = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            return "does not end", child.communicate()[1]
    if asked and child.returncode == -signal.SIGTERM:
        # Asked before it was ready to be asked.
        return 0, errors
    return child.returncode, errors


def complaint(line, code, errors):
    if code not in CODES:
        return f"ended with {code}"
    if REPORT.search(errors):
        return "a report, or a write to a place that is not its own"
    # Without a command there is the usage.
    if code != 0 and not re.search(rb"^Error: .", errors, re.M) and line:
        return "failed without a word"
    return None


def main():
    program, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    words, commands, seen = Words(chance), commands_of(program), collections.Counter()
    for number in range(count):
        line = make_line(words, chance, commands)
        code, errors = run(program, line)
        seen[code] += 1
        wrong = complaint(line, code, errors)
        if wrong:
            sys.exit(f"SEED={seed}, command line {number}: {line}: {wrong}\n{errors.decode(errors='replace')}")
    print(f"SEED={seed}:", ", ".join(f"{n} x {code}" for code, n in sorted(seen.items())))


main()
