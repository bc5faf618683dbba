"""A granary that serves, for tests that come in through one of its doors."""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading

GRANARY = os.environ["GRANARY"]
DATA_DIR = os.environ["DATA_DIR"]
PATIENCE = 120


def command(*arguments, data_dir=DATA_DIR):
    """Runs a command that must succeed and returns what it printed."""
    answer = subprocess.run([GRANARY, *arguments, "--data-dir", data_dir], capture_output=True, text=True, timeout=180)
    assert answer.returncode == 0, answer.stderr[-4000:]
    return answer.stdout


def key(*scopes, customer=None):
    """Makes a key for a program, of the MSP or of a customer."""
    of = ["--customer", customer] if customer else []
    return json.loads(command("api-key", "add", *[word for scope in scopes for word in ("--scope", scope)], *of))["key"]


@contextlib.contextmanager
def served(doors, config=None, data_dir=DATA_DIR):
    """Serves with some doors open, and yields the process and the address of each by its name."""
    environment = {**os.environ, **{f"GRANARY_DOORS_{name.upper()}": "127.0.0.1:0" for name in doors}}
    if config:
        environment["GRANARY_CONFIG"] = str(config)
    arguments = [GRANARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir]
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    lines = queue.Queue()
    log = []

    def read():
        for line in process.stderr:
            log.append(line)
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    process.log = log
    found = {}
    try:
        while (line := lines.get(timeout=PATIENCE)) is not None:
            if opened := re.match(r"(Arrow Flight SQL|Postgres' protocol) on (\S+)", line):
                found["flight" if opened[1].startswith("Arrow") else "postgres"] = opened[2]
            if line.startswith("listening on "):
                break
        assert set(found) == set(doors), "".join(log)
        yield process, found
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
