"""Shows of each rule of lint.py that it fires on a bad sample and stays silent on a good one.

Run as `/usr/bin/python3 -m pytest test/lint_test.py`.
"""
import pathlib
import shutil
import subprocess
import sys

import pytest

import lint

ROOT = pathlib.Path(lint.__file__).resolve().parent.parent

LEVELS = """# Layers

<!-- levels: extension -->
```
0  bounds compat
1  ring event
2  outbox kafka
```

<!-- levels: proxy -->

```text
0  log
1  pool
```
"""

CONTROL = "comment = 'orders'\ndefault_version = '1.20.3'\n"
UNIT_MAKEFILE = "CC := gcc\nPURE := ring event\n"


@pytest.fixture(name="found")
def found_fixture(tmp_path):
    """found(rule, {path: content}): the (path, line) pairs that a rule reports in these files."""
    def found(rule, files):
        for path, content in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                target.write_text(content)
        shutil.copy(ROOT / ".clang-format", tmp_path)
        return [(path, line) for path, line, _ in sorted(rule(lint.Tree(tmp_path, list(files))))]
    return found


# Layers -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("includer, included", [
    ("bounds.h", "ring.h"),    # up
    ("ring.c", "event.h"),     # sideways
    ("ring.h", "outbox.h"),
])
def test_include_that_does_not_point_down(found, includer, included):
    files = {"ARCHITECTURE.md": LEVELS,
             f"extension/{includer}": f'/* x */\n#include "{included}"\n',
             f"extension/{included}": "/* y */\n"}
    assert found(lint.include_levels, files) == [(f"extension/{includer}", 2)]


def test_include_that_points_down_or_to_its_own_module(found):
    assert not found(lint.include_levels, {
        "ARCHITECTURE.md": LEVELS,
        "extension/ring.c": '/* x */\n#include "ring.h"\n#include "bounds.h"\n'
                            '/* #include "outbox.h" */\n',
        "extension/ring.h": "/* x */\n",
        "extension/bounds.h": "/* x */\n",
        "extension/outbox.h": "/* x */\n",
        "extension/event.c": '/* x */\n#include "replication/outbox.h"\n#include <outbox.h>\n',
    })


def test_each_directory_has_its_own_table_and_may_have_subdirectories(found):
    assert found(lint.include_levels, {
        "ARCHITECTURE.md": LEVELS,
        "proxy/base/log.c": '/* x */\n#include "net/pool.h"\n#include "../net/pool.h"\n',
        "proxy/net/pool.h": '/* x */\n#include "base/log.h"\n',
        "proxy/base/log.h": "/* x */\n",
    }) == [("proxy/base/log.c", 2), ("proxy/base/log.c", 3)]


def test_module_without_a_level(found):
    files = {"ARCHITECTURE.md": LEVELS,
             "extension/ring.c": "/* x */\n",
             "extension/new.c": "/* x */\n",
             "extension/order_event.pb-c.c": "/* generated */\n",
             "proxy/net/other.h": "/* x */\n",
             "sandbox/anything.c": "/* x */\n"}
    assert found(lint.modules_have_levels, files) == [("extension/new.c", 1),
                                                      ("proxy/net/other.h", 1)]
    files["ARCHITECTURE.md"] = "No table.\n"
    assert found(lint.modules_have_levels, files) == [("extension/new.c", 1),
                                                      ("extension/ring.c", 1)]


@pytest.mark.parametrize("include", ['"postgres.h"', "<postgres.h>", '"utils/builtins.h"',
                                     '"compat.h"'])
def test_pure_module_that_reaches_the_server(found, include):
    assert found(lint.pure_modules_know_no_server, {
        "test/unit/Makefile": UNIT_MAKEFILE,
        "extension/ring.c": f"/* x */\n#include {include}\n",
        "extension/compat.h": '/* x */\n#include "bounds.h"\n#include "fmgr.h"\n',
        "extension/bounds.h": '/* x */\n#include "compat.h"\n',
    }) == [("extension/ring.c", 2)]


def test_pure_module_that_is_pure_and_others_that_need_not_be(found):
    assert not found(lint.pure_modules_know_no_server, {
        "test/unit/Makefile": UNIT_MAKEFILE,
        "extension/event.c": '/* x */\n#include "bounds.h"\n#include <stdint.h>\n'
                             '#include "order_event.pb-c.h"\n',
        "extension/bounds.h": "/* x */\n",
        "extension/outbox.c": '/* x */\n#include "postgres.h"\n',
    })


def test_rdkafka_outside_kafka_c(found):
    include = "/* x */\n#include <librdkafka/rdkafka.h>\n"
    assert found(lint.foreign_apis_have_one_place, {
        "extension/kafka.c": include, "extension/kafka.h": include,
    }) == [("extension/kafka.h", 2)]


def test_server_version_outside_compat_h(found):
    use = "/* PG_VERSION_NUM */\n#if PG_VERSION_NUM >= 170000\n#endif\n"
    assert found(lint.foreign_apis_have_one_place, {
        "extension/compat.h": use, "extension/outbox.c": use,
    }) == [("extension/outbox.c", 2)]


# Sizes --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, limit", [
    ("extension/a.c", 600), ("extension/a.h", 600), ("test/a.py", 600), ("sandbox/a.sh", 600),
    ("sql/a.sql", 600), ("extension/order_service--1.0.0.sql", 1500),
])
def test_file_length(found, path, limit):
    assert not found(lint.file_length, {path: "x\n" * limit})
    assert found(lint.file_length, {path: "x\n" * (limit + 1)}) == [(path, limit + 1)]


def test_length_of_other_files_is_free(found):
    assert not found(lint.file_length, {"README.md": "x\n" * 5000})


def test_function_length(found):
    def function(lines):
        return "/* x */\nint\nf(void)\n{\n" + "\tg();\n" * (lines - 2) + "}\n"

    assert not found(lint.function_length, {"a.c": function(70)})
    assert found(lint.function_length, {"a.c": function(71) + function(71)}) == [("a.c", 4),
                                                                                ("a.c", 78)]


def test_length_of_types_and_tables_is_free(found):
    members = "\tint x;\n" * 100
    assert not found(lint.function_length, {
        "a.c": "/* x */\nstruct A\n{\n" + members + "};\ntypedef struct B\n{\n" + members + "} B;\n"
               "static const int table[] = {\n" + "\t1,\n" * 100 + "};\n"})


def test_line_length(found):
    fits = "\t\t" + "x" * 92
    assert not found(lint.line_length, {"a.c": fits + "\n", "a.py": fits + "xxx\n"})
    assert not found(lint.line_length, {"a.c": "é" * 100 + "\n"})
    assert found(lint.line_length, {"a.c": f"{fits}\n{fits}x\n"}) == [("a.c", 2)]


# Comments -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"])
def test_debt(found, word):
    assert found(lint.no_debt, {"a.md": f"One.\n{word}: two.\n"}) == [("a.md", 2)]
    assert not found(lint.no_debt, {"a.sh": f"mktemp x.{word * 2}\n",
                                    "a.md": f"{word.lower()}\n",
                                    "a.png": b"\0" + word.encode(),
                                    "a.pb-c.c": word,
                                    "test/unit/build/a.c": word})


def test_line_comment(found):
    assert found(lint.block_comments, {"a.c": "/* x */\nint a; // b\n"}) == [("a.c", 2)]
    assert not found(lint.block_comments, {
        "a.c": "/* see https://x */\nchar *a = \"http://x\\\"//\";\nchar b = '\"'; /* // */\n",
        "a.proto": "// x\n"})


def test_head_comment(found):
    assert found(lint.head_comment, {"a.c": "#include <a.h>\n/* x */\n", "b.h": "\n/* x */\n"}) == [
        ("a.c", 1), ("b.h", 1)]
    assert not found(lint.head_comment, {"a.c": "/*\n * a.c\n */\n", "a.py": "import x\n"})


GOOD_HEADER = """/* x */
#ifndef A_H
#define A_H
#define MACRO(x) \\
	do_something(x)

typedef void (*Callback)(int x);
TAILQ_HEAD(List, Item);
static_assert(sizeof(int) == 4, "int");

typedef struct A
{
	int (*method)(void);
} A;

extern int a_count;

/* What it does. */
extern bool a_push(A *a,
				   int b);

/* Names; they share a comment. */
extern const char *a_name(int number);
extern const char *
a_title(int number);

/* Short enough to be here. */
static inline int
a_size(void)
{
	return a_count();
}

#endif
"""


def test_documented_header(found):
    assert not found(lint.documented_headers, {"a.h": GOOD_HEADER})
    assert not found(lint.documented_headers, {"a.c": "/* x */\n\nextern int f(void);\n"})


@pytest.mark.parametrize("prototype", [
    "extern bool f(int a);", "int *f(void);", "static inline int\nf(void)\n{\n}",
    "struct timeval f(void);", "pg_attribute_printf(1, 2) void f(char *a);",
])
def test_undocumented_header(found, prototype):
    assert found(lint.documented_headers, {"a.h": f"/* x */\n\n{prototype}\n"}) == [("a.h", 3)]
    assert not found(lint.documented_headers, {"a.h": f"/* x */\n\n/* y */\n{prototype}\n"})


def test_comment_is_not_shared_across_a_blank_line_or_another_declaration(found):
    assert found(lint.documented_headers, {
        "a.h": "/* x */\n\n/* y */\nint f(void);\n\nint g(void);\n"}) == [("a.h", 6)]
    assert found(lint.documented_headers, {
        "a.h": "/* x */\n\n/* y */\nint f(void);\nint x;\nint g(void);\n"}) == [("a.h", 6)]


# Layout -------------------------------------------------------------------------------------------

def test_clang_format(found):
    good = "/* x */\nint\nf(int a)\n{\n\treturn (long) a;\n}\n"
    assert not found(lint.clang_format, {"a.c": good, "b.pb-c.c": "int  a;\n"})
    assert found(lint.clang_format, {"a.c": good, "b.h": "/* x */\nint  a;\nint  b;\n"}) == [
        ("b.h", 2)]
    assert not found(lint.clang_format, {"README.md": "int  a;\n"})


def test_white_space(found):
    assert found(lint.white_space, {"a.md": "a\nb \nc\t\n", "b.sh": "a\nb"}) == [
        ("a.md", 2), ("a.md", 3), ("b.sh", 2)]
    assert not found(lint.white_space, {"a.md": "a\n\nb\n", "b.py": "", "c.png": b"\0 ",
                                        "expected/a.out": "a \n\n", "a.bin": b"\xff \n"})


# Tests --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, text", [
    ("test/a.py", "import time\ntime.sleep(0.06)\n"),
    ("test/a.py", "import time\ntime.sleep(delay)\n"),
    ("test/a.py", "import time\ntime.sleep(self.delay)\n"),
    ("test/a.py", "from time import sleep\nsleep(1)\n"),
    ("test/a.sh", "a\n  sleep 1\n"),
    ("test/a.sh", "a\nsleep $b\n"),
    ("test/a_test.c", "/* x */\nsleep(1);\n"),
    ("test/a_test.c", "/* x */\nusleep(1);\n"),
    ("sql/a.sql", "SELECT 1;\nSELECT pg_sleep(0.1);\n"),
    ("sql/a.sql", "SELECT 1;\nSELECT pg_sleep_for('1 s');\n"),
    ("test/isolation/specs/a.spec", "step x\n{ SELECT pg_sleep(1); }\n"),
])
def test_sleep(found, path, text):
    assert found(lint.tests_poll, {path: text}) == [(path, 2)]


def test_no_sleep(found):
    assert not found(lint.tests_poll, {
        "test/a.py": "import time\ntime.sleep(0.05)\n# time.sleep(1)\nx = 'time.sleep(1)'\n",
        "test/a.sh": "# sleep 1\nsleep 0.05\n",
        "test/a.c": "/* sleep(1) */\npg_sleep_not(1);\n",
        "sql/a.sql": "SELECT pg_sleep(0);\n",
        "sandbox/stack.py": "import time\ntime.sleep(1)\n",
    })


# Version ------------------------------------------------------------------------------------------

def test_version_in_a_second_place(found):
    assert found(lint.version_in_one_place, {
        lint.CONTROL: CONTROL,
        "README.md": "Install\norder_service 1.20.3.\n",
        "extension/order_service--1.20.3.sql": "-- version 1.20.3\n",
        "deploy/a.yml": "image: order_service:v1.20.3\n",
    }) == [("README.md", 2), ("deploy/a.yml", 1), ("extension/order_service--1.20.3.sql", 1)]


def test_version_in_its_place_and_other_numbers(found):
    assert not found(lint.version_in_one_place, {
        lint.CONTROL: CONTROL,
        "CHANGELOG.md": "## 1.20.3\n",
        "extension/order_service--1.20.2--1.20.3.sql":
            "\\echo Use \"ALTER EXTENSION order_service UPDATE TO '1.20.3'\"\n",
        "README.md": "1.20.30 11.20.3 1.20.3.1 2.1.20.3 1.20\n",
    })


def test_version_must_be_three_numbers(found):
    assert found(lint.version_in_one_place, {}) == [(lint.CONTROL, 1)]
    assert found(lint.version_in_one_place, {lint.CONTROL: "default_version = '1.0'\n"}) == [
        (lint.CONTROL, 1)]


@pytest.mark.parametrize("pom, expected", [
    ("<kafka.version>4.1.1</kafka.version>\n", []),
    ("<kafka.version>4.1.2</kafka.version>\n", [(lint.COMPOSE, 3)]),
    ("<version>4.1.1</version>\n", [(lint.COMPOSE, 3)]),
])
def test_broker_versions(found, pom, expected):
    compose = "services:\n  kafka:\n    image: apache/kafka:4.1.1\n"
    assert found(lint.broker_versions_agree, {lint.KAFKA_POM: pom,
                                              lint.COMPOSE: compose}) == expected


# The program --------------------------------------------------------------------------------------

@pytest.fixture(name="repository")
def repository_fixture(tmp_path):
    """A repository without violations, with this lint.py in it."""
    for path in ("test/lint.py", ".clang-format"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    (tmp_path / "extension").mkdir()
    (tmp_path / lint.CONTROL).write_text(CONTROL)
    (tmp_path / ".gitignore").write_text("ignored/\n")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def run_lint(repository):
    run = subprocess.run([sys.executable, "test/lint.py"], cwd=repository, check=False, text=True,
                         stdout=subprocess.PIPE)
    return run.returncode, run.stdout.splitlines()


def test_program_on_a_clean_repository(repository):
    assert run_lint(repository) == (0, ["lint: 4 files, 0 violations"])


def test_program_sees_new_files_but_neither_ignored_nor_deleted_ones(repository):
    (repository / "ignored").mkdir()
    (repository / "ignored/a.md").write_text("a \n")
    (repository / ".gitignore").unlink()
    (repository / ".git/info/exclude").write_text("ignored/\n")
    (repository / "b.md").write_text("a\nb \n")
    assert run_lint(repository) == (1, ["b.md:2: white space at the end of the line",
                                        "lint: 4 files, 1 violations"])


def test_every_rule_is_run():
    rules = {name for name, thing in vars(lint).items()
             if callable(thing) and getattr(thing, "__annotations__", None) == {"tree": lint.Tree}}
    assert rules == {rule.__name__ for rule in lint.RULES}
