"""How the demo talks: paragraphs, commands as a shell shows them, SQL as psql does, results as tables.

A step says what it expects of its command or statement. Anything else ends the demo: a demo that shows something wrong
as if it were right is worse than none. Output is plain ASCII; it is coloured only on a terminal, and not if NO_COLOR
is set.
"""

import os
import shlex
import subprocess
import sys
import textwrap
from decimal import Decimal

import psycopg

from host import wait_until

COLUMNS = 110
INDENT = "  "
COMMAND_SECONDS_MAX = 30


class Unexpected(Exception):
    """A command or statement did not do what the demo says it does."""


# --- text -----------------------------------------------------------------------------------------------------------


def _style(text, code):
    is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\033[{code}m{text}\033[0m" if is_coloured else text


def bold(text):
    return _style(text, "1")


def red(text):
    return _style(text, "31")


def green(text):
    return _style(text, "32")


def title(text):
    """The head line of a chapter."""
    line = f"== {text} "
    print("\n" + bold(line.ljust(COLUMNS, "=")))


def say(text):
    """A paragraph."""
    print("\n" + textwrap.fill(" ".join(text.split()), COLUMNS))


def cell(value):
    """A value as psql writes it, except that NULL and the empty text can be told apart."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else "''"


def table(names, rows):
    """Print rows (sequences as long as names): numbers to the right, everything else to the left."""
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *texts)]

    def adjust(text, width, value):
        is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        return text.rjust(width) if is_number else text.ljust(width)

    def line(row_texts, values):
        return (INDENT + " " + " | ".join(map(adjust, row_texts, widths, values))).rstrip()

    # A name stands over its numbers, so it goes to the side they are on.
    print(bold(line(names, rows[0] if rows else names)))
    print(INDENT + "-" + "-+-".join("-" * width for width in widths) + "-")
    for row_texts, row in zip(texts, rows):
        print(line(row_texts, row))


def _labelled(label, text, paint=str):
    """A line of an error message; what does not fit goes on below its beginning."""
    label = f"{INDENT} {label.ljust(9)} "
    print(paint(textwrap.fill(text, COLUMNS, initial_indent=label, subsequent_indent=" " * len(label))))


# --- commands -------------------------------------------------------------------------------------------------------


class Shell:
    """Runs commands in an environment and shows them with their output."""

    def __init__(self, **variables):
        self._environment = {**os.environ, **variables}

    def run(self, command, *expected, status=0):
        """Show and run a command that ends with this exit status and prints the expected texts; its output."""
        print("\n" + INDENT + bold("$") + " " + command)
        words = shlex.split(command)
        try:
            result = subprocess.run(
                words,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_SECONDS_MAX,
                text=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unexpected(f"{words[0]} did not run to its end: {error}") from None
        print(textwrap.indent(result.stdout.rstrip("\n"), INDENT))
        if result.returncode != status:
            raise Unexpected(f"exit status {result.returncode}, expected was {status}, from:\n{command}")
        for text in expected:
            if text not in result.stdout:
                raise Unexpected(f"no {text!r} in the output of:\n{command}")
        return result.stdout


# --- SQL ------------------------------------------------------------------------------------------------------------


class Session:
    """One connection whose statements and results are shown."""

    def __init__(self, connection):
        self.connection = connection

    def _show_statement(self, sql):
        database = self.connection.info.dbname
        print()
        for number, line in enumerate(sql.splitlines()):
            sign = "-" if number else "="
            print(INDENT + bold(f"{database}{sign}#") + " " + line)

    def _show_error(self, error):
        _labelled("ERROR:", error.diag.message_primary, red)
        if error.diag.message_detail:
            _labelled("DETAIL:", error.diag.message_detail)
        if error.diag.message_hint:
            _labelled("HINT:", error.diag.message_hint)
        _labelled("SQLSTATE:", error.sqlstate)

    def _fetch(self, sql):
        """The cursor and its rows, as dictionaries."""
        cursor = self.connection.execute(sql)
        names = [column.name for column in cursor.description or []]
        return cursor, [dict(zip(names, row)) for row in (cursor.fetchall() if names else [])]

    def _show_result(self, cursor, rows):
        if cursor.description:
            table([column.name for column in cursor.description], [list(row.values()) for row in rows])
        else:
            print(f"{INDENT} {cursor.statusmessage}")

    def _attempt(self, sql):
        """Show and run a statement: its rows and None, or None and the error."""
        self._show_statement(sql)
        try:
            cursor, rows = self._fetch(sql)
        except psycopg.Error as error:
            # Without a code it is not the server's answer to the statement: the connection is lost, say.
            if error.sqlstate is None or error.diag.message_primary is None:
                raise
            self._show_error(error)
            return None, error
        self._show_result(cursor, rows)
        return rows, None

    def run(self, sql):
        """Show and run a statement that succeeds; its rows."""
        rows, error = self._attempt(sql)
        if error is not None:
            raise Unexpected(f"an error where a result was expected, from:\n{sql}")
        return rows

    def row(self, sql, **expected):
        """As run(), for a statement that gives one row; `expected` names values it must hold."""
        rows = self.run(sql)
        if len(rows) != 1:
            raise Unexpected(f"{len(rows)} rows where one was expected, from:\n{sql}")
        for name, value in expected.items():
            if rows[0][name] != value:
                raise Unexpected(f"{name} is {cell(rows[0][name])}, expected was {cell(value)}, from:\n{sql}")
        return rows[0]

    def refused(self, sql, sqlstate):
        """Show and run a statement that must fail with this SQLSTATE."""
        _, error = self._attempt(sql)
        if error is None:
            raise Unexpected(f"a result where SQLSTATE {sqlstate} was expected, from:\n{sql}")
        if error.sqlstate != sqlstate:
            raise Unexpected(f"SQLSTATE {error.sqlstate}, expected was {sqlstate}, from:\n{sql}")

    def wait_for(self, sql, seconds, what, **expected):
        """Show a statement, repeat it until its one row holds the expected values, and show that."""
        self._show_statement(sql)

        seen = []

        def is_as_expected():
            seen[:] = self._fetch(sql)
            rows = seen[1]
            return len(rows) == 1 and all(rows[0][name] == value for name, value in expected.items())

        try:
            wait_until(is_as_expected, seconds, what)
        finally:
            # Also when it took too long: then this is what it still was.
            if seen:
                self._show_result(*seen)
