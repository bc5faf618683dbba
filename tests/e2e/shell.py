"""The shell of `granary query`, typed into as a person would, on a terminal of its own."""

import csv
import fcntl
import json
import os
import pty
import re
import select
import stat
import struct
import subprocess
import termios
import time

import pyarrow.ipc
import pyarrow.parquet
import pytest

from served import DATA_DIR, GRANARY, command

PROMPT = "granary=> "
WIDTH = 80


class Terminal:
    """A granary on a terminal that is 80 letters wide."""

    def __init__(self, *arguments):
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(GRANARY, [GRANARY, "query", "--data-dir", DATA_DIR, *arguments])
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))

    def until(self, text, patience=60):
        """Reads until something is shown, and returns all that was, without what moves the cursor."""
        shown, deadline = b"", time.monotonic() + patience
        while True:
            plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", b"", shown).decode(errors="replace")
            if text in plain:
                return plain
            assert time.monotonic() < deadline, f"{text!r} was not shown: {plain[-2000:]}"
            if select.select([self.screen], [], [], 1)[0]:
                shown += os.read(self.screen, 65536)

    def type(self, text):
        os.write(self.screen, text.encode())

    def ask(self, text, ends=PROMPT):
        self.type(text + "\r")
        return self.until("\n" + ends)

    def until_it_works(self, patience=20):
        """Waits until keys are no longer read as they are typed: a question is being answered."""
        deadline = time.monotonic() + patience
        while not termios.tcgetattr(self.screen)[3] & termios.ISIG:
            assert time.monotonic() < deadline
            select.select([], [], [], 0.05)

    def leave(self):
        self.type("\\q\r")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.screen)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def terminal():
    terminal = Terminal()
    terminal.until(PROMPT)
    yield terminal
    assert terminal.leave() == 0


def test_a_question_takes_several_lines_and_is_answered(terminal):
    terminal.type("select 40 + 2\r")
    terminal.until("granary-> ")
    shown = terminal.ask("as n; select 'a;b' as t;")
    assert re.search(r"\n +n\n─+\n42\n\(1 row\)", shown) and "a;b" in shown, shown


def test_what_is_wrong_is_said_and_the_shell_goes_on(terminal):
    assert "nosuch" in terminal.ask("select * from nosuch;")
    assert "read-only" in terminal.ask("drop table invoice_lines;")
    assert "\\? lists" in terminal.ask("\\nosuch")
    assert "42" in terminal.ask("select 42 as n;")


def test_tables_and_columns_are_listed_with_what_they_mean(terminal):
    shown = terminal.ask("\\d")
    assert "mrr_movements" in shown and "backup_runs" in shown
    assert all(len(line) <= WIDTH for line in shown.splitlines()), shown
    shown = terminal.ask("\\d mrr_movements")
    assert "grain: one row per customer" in shown and "amount_minor" in shown and "minor units" in shown
    assert "no table 'nosuch'" in terminal.ask("\\d nosuch")


def test_a_version_of_the_lake_is_chosen(terminal):
    [*_, last] = json.loads(command("query", "select distinct period from revenue_by_month order by 1", "--format", "json"))
    assert "version" in terminal.ask(f"\\as_of {last['period']}")
    assert "(1 row)" in terminal.ask("select count(*) from invoice_lines;")
    assert "1999-01" in terminal.ask("\\as_of 1999-01")
    terminal.ask("\\as_of")


def test_answers_go_to_a_file_in_the_format_that_is_asked_for(terminal, tmp_path):
    terminal.ask("\\format csv")
    assert "n,t\n1,x\n" in terminal.ask("select 1 as n, 'x' as t;")
    terminal.ask("\\format parquet")
    assert "\\o FILE" in terminal.ask("select 1 as n;")
    terminal.ask(f"\\o {tmp_path}/answer.parquet")
    terminal.ask("select * from mrr_movements;")
    terminal.ask("\\o")
    terminal.ask("\\format table")
    rows = pyarrow.parquet.read_table(tmp_path / "answer.parquet").num_rows
    assert f"\n{rows}\n" in terminal.ask("select count(*) as movements from mrr_movements;").replace(" ", "")


def test_tab_completes_and_times_are_shown(terminal):
    assert "times are shown" in terminal.ask("\\timing")
    terminal.type("select count(*) from mrr_mov\t")
    terminal.until("mrr_movements")
    assert re.search(r"\d+ ms", terminal.ask(";"))


def test_ctrl_c_lets_go_of_a_question_and_not_of_the_shell(terminal):
    terminal.type("select count(*) from generate_series(1, 10000000) as a (x), generate_series(1, 100000) as b (y) where x * y % 7 = 8;\r")
    terminal.until_it_works()
    terminal.type("\x03")
    assert "was let go" in terminal.until("\n" + PROMPT, patience=20)
    terminal.type("select 'not meant\r")
    terminal.until("granary-> ")
    terminal.type("\x03")
    terminal.until(PROMPT)
    assert "42" in terminal.ask("select 42 as n;")


def test_what_was_asked_is_remembered_for_oneself_and_without_secrets():
    terminal = Terminal()
    terminal.until(PROMPT)
    terminal.ask("select 'remember me' as t;")
    terminal.ask("select 'grn_live_012345678901234567890123456789' as secret;")
    assert terminal.leave() == 0
    history = os.path.join(DATA_DIR, "query.history")
    assert stat.S_IMODE(os.stat(history).st_mode) == 0o600
    with open(history) as kept:
        kept = kept.read()
    assert "remember me" in kept and "grn_live" not in kept
    terminal = Terminal()
    terminal.until(PROMPT)
    terminal.type("\x1b[A\x1b[A")
    terminal.until("remember me")
    terminal.type("\x03")
    assert terminal.leave() == 0


def test_without_a_terminal_one_question_is_read_and_written_as_rows_come(tmp_path):
    def piped(sql, *arguments):
        return subprocess.run([GRANARY, "query", "--data-dir", DATA_DIR, *arguments], input=sql.encode(), capture_output=True, timeout=120)

    sql = "select * from mrr_movements order by customer_code, period, movement, reason"
    table = piped(sql, "--format", "csv")
    rows = list(csv.DictReader(table.stdout.decode().splitlines()))
    assert table.returncode == 0 and rows
    path = tmp_path / "answer.parquet"
    path.write_bytes(piped(sql, "--format", "parquet").stdout)
    assert pyarrow.parquet.read_table(path)["customer_code"].to_pylist() == [row["customer_code"] for row in rows]
    with pyarrow.ipc.open_stream(piped(sql, "--format", "arrow").stdout) as stream:
        assert stream.read_all().num_rows == len(rows)
    assert len(json.loads(piped(sql, "--format", "json").stdout)) == len(rows)
    many = "select a.value * 1000 + b.value as n from generate_series(0, 1999) as a cross join generate_series(0, 999) as b"
    reader = subprocess.Popen([GRANARY, "query", many, "--data-dir", DATA_DIR], stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline().strip() == "n"
    reader.stdout.close()
    assert reader.wait(60) == 0, "a reader that has gone away is no error"


def test_a_question_to_customers_data_needs_a_reason_unless_it_is_a_demo(tmp_path):
    tmp_path.chmod(0o755)
    for directory in list(tmp_path.parents)[:3]:
        directory.chmod(0o755)
    house = str(tmp_path / "house")
    command("msp", "add", "NORTH", "--name", "Northern Backup", data_dir=house)
    refused = subprocess.run([GRANARY, "query", "select 1 as n", "--data-dir", house], capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2 and "--reason" in refused.stderr, refused
    assert "1" in command("query", "select 1 as n", "--reason", "ticket 4711", data_dir=house)
    noted = json.loads(command("audit", "list", "--action", "warehouse.query", "--format", "json", data_dir=house))
    assert [row["detail"] for row in noted] == [{"sql": "select 1 as n", "reason": "ticket 4711"}]
