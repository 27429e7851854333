"""Runs a command on a terminal of its own, answers what it asks, and says how it ended.

ask.py ANSWERS COMMAND...: ANSWERS are separated by commas; "^C" is the key, and "TERM" the signal. Prints JSON: the exit
code, what the terminal showed, and whether it echoes afterwards.
"""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

PROMPT = b"Passphrase of "


def main():
    answers = sys.argv[1].split(",")
    master, slave = pty.openpty()

    def own_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    # Standard input and output are elsewhere: a passphrase is a matter of the terminal's.
    child = subprocess.Popen(
        sys.argv[2:],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        preexec_fn=own_terminal,
    )
    echoes = lambda: bool(termios.tcgetattr(slave)[3] & termios.ECHO)
    shown, answered, end = b"", 0, time.time() + 60
    while child.poll() is None and time.time() < end:
        if select.select([master], [], [], 0.02)[0]:
            shown += os.read(master, 4096)
        if answered < len(answers) and shown.count(PROMPT) > answered and not echoes():
            answer = answers[answered]
            answered += 1
            if answer == "TERM":
                child.send_signal(signal.SIGTERM)
            else:
                os.write(master, b"\x03" if answer == "^C" else answer.encode() + b"\n")
    child.kill()
    child.wait()
    while select.select([master], [], [], 0.02)[0]:
        shown += os.read(master, 4096)
    print(json.dumps({"code": child.returncode, "echo": echoes(), "shown": shown.decode(), "asked": answered}))


main()
