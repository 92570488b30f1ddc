#!/usr/bin/env python3
"""on_terminal.py EXPECT ANSWER [EXPECT ANSWER ...] -- COMMAND... - types answers on a terminal.

Runs COMMAND with a new pseudo-terminal as its stdin, stdout and stderr. Waits for each EXPECT to be
shown, then types ANSWER and Return. Prints all that the terminal showed and exits as the command
did; 99 when an EXPECT does not come within 20 s. What is typed must not come back as an echo where
the command hides it, so the caller looks for it in what is printed here.
"""
import os
import pty
import select
import signal
import sys
import time


def main():
    split = sys.argv.index("--")
    steps, command = sys.argv[1:split], sys.argv[split + 1 :]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    shown, seen, deadline = b"", 0, time.monotonic() + 20
    while True:
        if steps and steps[0].encode() in shown[seen:]:
            # What comes after the prompt is what counts: an answer may contain the next prompt.
            seen = len(shown)
            os.write(terminal, steps[1].encode() + b"\n")
            steps = steps[2:]
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            shown += data
        elif time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            print(shown.decode(errors="replace"))
            print("on_terminal.py: not shown in time:", steps[:1], file=sys.stderr)
            sys.exit(99)
    print(shown.decode(errors="replace").replace("\r", ""), end="")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
