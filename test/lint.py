"""Checks the conventions that no compiler checks: layers, sizes, comments, layout.

Run as `/usr/bin/python3 test/lint.py`. Prints each violation as file:line: text, then a summary,
and exits with 1 if there was any. Looks at what git tracks or would offer to add; generated files
are taken as they are.

A rule is a function that gets the Tree and yields Violations; RULES lists them. test/lint_test.py
shows of each that it fires on a bad sample and stays silent on a good one.
"""
import ast
import fnmatch
import functools
import os
import pathlib
import re
import subprocess
import sys
import typing

FILE_LINES_MAX = 600
INSTALL_SCRIPT_LINES_MAX = 1500  # one script creates everything, and cannot be split
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
TAB_COLUMNS = 4
SLEEP_SECONDS_MAX = 0.05  # the pause of a polling loop; more is waiting and hoping

GENERATED = ("*.pb-c.[ch]", "build/*", "*/build/*", ".run/*", "expected/*.out", "*/expected/*.out",
             "test/fuzz/corpus/*")
INSTALL_SCRIPT = "extension/*--*.sql"
SIZED = (".c", ".h", ".py", ".sh", ".sql")
CONTROL = "extension/order_service.control"
CLANG_FORMAT = "clang-format-14"
KAFKA_POM = "sandbox/kafka/pom.xml"
COMPOSE = "docker-compose.yml"

# In pieces, so that this file does not contain what it looks for.
DEBT = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK")) + r")\b")
COMMENT = r"/\*.*?\*/|//[^\n]*"
LITERAL = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
TOKEN = re.compile(f"({COMMENT})|({LITERAL})", re.S)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)

DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
ATTRIBUTE = re.compile(r"\b__attribute__\s*\(\(.*?\)\)|\bpg_attribute_\w+(\([^)]*\))?", re.S)

# No other header of the server works without one of these.
SERVER_HEADERS = ("c.h", "fmgr.h", "postgres.h", "postgres_fe.h")


class Violation(typing.NamedTuple):
    path: str
    line: int
    text: str


class Include(typing.NamedTuple):
    line: int
    name: str
    is_quoted: bool


def blank(text: str) -> str:
    """Spaces instead of |text|, with the line ends kept, so that positions stay what they were."""
    return re.sub(r"[^\n]", " ", text)


class Source:
    """One file. Binary files have an empty text, so that no rule finds anything in them."""

    def __init__(self, path: str, content: bytes):
        self.path = path
        self.stem = pathlib.PurePath(path).stem
        self.suffix = pathlib.PurePath(path).suffix
        self.is_c = self.suffix in (".c", ".h")
        self.text = self.decode(content)
        self.lines = self.text.split("\n")

    @staticmethod
    def decode(content: bytes) -> str:
        try:
            return "" if b"\0" in content else content.decode()
        except UnicodeDecodeError:
            return ""

    @functools.cached_property
    def code(self) -> str:
        """C text with comments and literals blanked."""
        return TOKEN.sub(lambda match: blank(match[0]), self.text)

    @functools.cached_property
    def includes(self) -> list[Include]:
        text = TOKEN.sub(lambda match: blank(match[1]) if match[1] else match[0], self.text)
        return [Include(self.line_at(match.end()), match[2], match[1] == '"')
                for match in INCLUDE.finditer(text)]

    def line_at(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def violation(self, line: int, text: str) -> Violation:
        return Violation(self.path, line, text)


class Tree:
    """The files to check, by their paths below |root|."""

    def __init__(self, root: pathlib.Path, paths: typing.Iterable[str]):
        self.root = root
        self.files = {path: Source(path, (root / path).read_bytes())
                      for path in sorted(paths)
                      if not is_generated(path) and (root / path).is_file()}

    @property
    def sources(self) -> list[Source]:
        return list(self.files.values())

    @property
    def c_sources(self) -> list[Source]:
        return [source for source in self.sources if source.is_c]

    def below(self, directory: str) -> list[Source]:
        return [source for source in self.c_sources if source.path.startswith(directory + "/")]

    def resolve(self, source: Source, include: Include, directory: str) -> Source | None:
        """The file of ours that an include means: next to its source, below |directory|, or one of
        the contracts that all share."""
        for base in (os.path.dirname(source.path), directory, "proto"):
            found = self.files.get(os.path.normpath(os.path.join(base, include.name)))
            if include.is_quoted and found is not None:
                return found
        return None


def is_generated(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in GENERATED)


def is_install_script(source: Source) -> bool:
    return fnmatch.fnmatch(source.path, INSTALL_SCRIPT)


# Layers -------------------------------------------------------------------------------------------

LEVELS_MARKER = re.compile(r"^<!-- levels: (\S+) -->\n+```[^\n]*\n(.*?)^```", re.M | re.S)


def level_tables(tree: Tree) -> dict[str, dict[str, int]]:
    """The tables in ARCHITECTURE.md: directory -> module -> level."""
    tables = {}
    architecture = tree.files.get("ARCHITECTURE.md")
    for match in LEVELS_MARKER.finditer(architecture.text if architecture else ""):
        rows = [line.split() for line in match[2].splitlines()]
        tables[match[1]] = {module: int(row[0])
                            for row in rows if row and row[0].isdigit() for module in row[1:]}
    return tables


def include_levels(tree: Tree):
    """A file includes lower levels only, and of its own level only its own module."""
    for directory, levels in level_tables(tree).items():
        for source in tree.below(directory):
            for include in source.includes if source.stem in levels else ():
                target = tree.resolve(source, include, directory)
                if target is None or target.stem == source.stem or target.stem not in levels:
                    continue
                if levels[target.stem] >= levels[source.stem]:
                    yield source.violation(include.line,
                                           f"level {levels[source.stem]} includes {include.name} "
                                           f"of level {levels[target.stem]}")


def modules_have_levels(tree: Tree):
    """Every module below a directory with a table is in it; extension/ has one."""
    tables = level_tables(tree)
    for directory in sorted({"extension", *tables}):
        for source in tree.below(directory):
            if source.stem not in tables.get(directory, {}):
                yield source.violation(1, f"module {source.stem} is not in the table "
                                          f"`levels: {directory}` of ARCHITECTURE.md")


def pure_modules(tree: Tree) -> set[str]:
    """The modules that the unit tests link without a server: the list PURE of their Makefile."""
    makefile = tree.files.get("test/unit/Makefile")
    match = re.search(r"^PURE *:?= *(.*)$", makefile.text if makefile else "", re.M)
    return set(match[1].split()) if match else set()


def pure_modules_know_no_server(tree: Tree):
    """A pure module reaches no PostgreSQL header, neither directly nor through a header of ours."""
    pure = pure_modules(tree)
    for source in tree.below("extension"):
        for include in source.includes if source.stem in pure else ():
            foreign = foreign_header(tree, source, include, set())
            if foreign is not None:
                yield source.violation(include.line, f"pure module reaches {foreign}")


def foreign_header(tree: Tree, source: Source, include: Include, seen: set[str]) -> str | None:
    """The first header behind an include that is the server's or, in quotes, not ours."""
    target = tree.resolve(source, include, "extension")
    if target is None:
        is_foreign = include.is_quoted and not is_generated(include.name)
        return include.name if is_foreign or include.name in SERVER_HEADERS else None
    if target.path in seen:
        return None
    seen.add(target.path)
    found = (foreign_header(tree, target, inner, seen) for inner in target.includes)
    return next(filter(None, found), None)


# The header of a library, by the end of its path, and the files that may include it.
FOREIGN = {
    "rdkafka.h": "extension/kafka.c extension/verdict.c",
    "nghttp2.h": "proxy/net/http2.c proxy/net/grpc.c",
    "libpq-fe.h": "proxy/net/pg_* client/orderctl_database.c",
    "event2/dns.h": "proxy/net/dns.c",
    "ini.h": "proxy/base/config.c",
    "sqlite3.h": "sandbox/account/database.h",
}


def foreign_apis_have_one_place(tree: Tree):
    """A library has one place, and so have the differences between PostgreSQL versions: compat.h."""
    for source in tree.c_sources:
        for include in source.includes:
            for header, patterns in FOREIGN.items() if not source.path.startswith("test/") else ():
                is_it = ("/" + include.name).endswith("/" + header)
                if is_it and not any(fnmatch.fnmatch(source.path, pattern)
                                     for pattern in patterns.split()):
                    yield source.violation(include.line, f"only {patterns} includes {header}")
        for match in re.finditer(r"\bPG_VERSION_NUM\b", source.code):
            if source.path != "extension/compat.h":
                yield source.violation(source.line_at(match.start()),
                                       "only extension/compat.h asks for PG_VERSION_NUM")


# Sizes --------------------------------------------------------------------------------------------

def file_length(tree: Tree):
    for source in tree.sources:
        limit = INSTALL_SCRIPT_LINES_MAX if is_install_script(source) else FILE_LINES_MAX
        length = source.text.count("\n")
        if source.suffix in SIZED and length > limit:
            yield source.violation(length, f"file of {length} lines, the limit is {limit}")


def function_length(tree: Tree):
    """From brace to brace, both in column 0. (A type or a table ends with more than a brace.)"""
    for source in tree.c_sources:
        start = None
        for number, line in enumerate(source.code.split("\n"), 1):
            if line.rstrip() == "{":
                start = number
            elif line.startswith("}"):
                length = number - start + 1 if start is not None and line.rstrip() == "}" else 0
                if length > FUNCTION_LINES_MAX:
                    yield source.violation(start, f"function of {length} lines, the limit is "
                                                  f"{FUNCTION_LINES_MAX}")
                start = None


def line_length(tree: Tree):
    for source in tree.c_sources:
        for number, line in enumerate(source.lines, 1):
            columns = len(line.expandtabs(TAB_COLUMNS))
            if columns > COLUMNS_MAX:
                yield source.violation(number, f"line of {columns} columns, the limit is "
                                               f"{COLUMNS_MAX}")


# Comments -----------------------------------------------------------------------------------------

def no_debt(tree: Tree):
    """What remains to be done is an issue, not a comment."""
    for source in tree.sources:
        for match in DEBT.finditer(source.text):
            yield source.violation(source.line_at(match.start()), f"{match[0]} left behind")


def block_comments(tree: Tree):
    for source in tree.c_sources:
        for match in TOKEN.finditer(source.text):
            if match[0].startswith("//"):
                yield source.violation(source.line_at(match.start()),
                                       "comment with //, write /* */")


def head_comment(tree: Tree):
    for source in tree.c_sources:
        if not source.text.startswith("/*"):
            yield source.violation(1, "no head comment")


class Declaration(typing.NamedTuple):
    """A declaration or definition at the top level of a header, without its body."""
    text: str
    first_line: int
    last_line: int


def declarations(source: Source) -> typing.Iterator[Declaration]:
    code = DIRECTIVE.sub(lambda match: blank(match[0]), source.code)
    depth = 0
    start = None
    for match in re.finditer(r"[{};]|[^\s{};]+", code):
        token = match[0]
        if depth == 0 and start is None and token not in "{};":
            start = match.start()
        if depth == 0 and start is not None and token in "{;":
            yield Declaration(code[start:match.start()], source.line_at(start),
                              source.line_at(match.start()))
            start = None
        depth += (token == "{") - (token == "}")


def is_function(declaration: Declaration) -> bool:
    """Type, name, parenthesis. A macro such as TAILQ_HEAD(...) has no type before its name."""
    text = ATTRIBUTE.sub(" ", declaration.text).strip()
    has_type = re.match(r"\w[\w\s*]*[\s*]\w+\s*\(", text) is not None
    return has_type and not text.startswith("typedef")


def documented_headers(tree: Tree):
    """A function in a header has a comment right above it, or shares that of the function there."""
    for source in tree.c_sources:
        documented_until = None
        for declaration in declarations(source) if source.suffix == ".h" else ():
            above = declaration.first_line - 1
            if not is_function(declaration):
                continue
            if source.lines[above - 1].rstrip().endswith("*/") or above == documented_until:
                documented_until = declaration.last_line
            else:
                yield source.violation(declaration.first_line,
                                       "public function without a comment right above it")


# Layout -------------------------------------------------------------------------------------------

def clang_format(tree: Tree):
    paths = [source.path for source in tree.c_sources]
    if not paths:
        return
    run = subprocess.run([CLANG_FORMAT, "--dry-run", "-Werror", "--style=file", *paths],
                         cwd=tree.root, text=True, stderr=subprocess.PIPE, check=False)
    lines = {}
    for match in re.finditer(r"^(.+?):(\d+):\d+: error: ", run.stderr, re.M):
        lines.setdefault(match[1], []).append(int(match[2]))
    if run.returncode != 0 and not lines:
        raise RuntimeError(f"{CLANG_FORMAT} failed: {run.stderr}")
    for path, numbers in lines.items():
        yield Violation(path, numbers[0],
                        f"not as {CLANG_FORMAT} lays it out ({len(numbers)} places)")


def white_space(tree: Tree):
    for source in tree.sources:
        for number, line in enumerate(source.lines, 1):
            if line != line.rstrip():
                yield source.violation(number, "white space at the end of the line")
        if source.text and not source.text.endswith("\n"):
            yield source.violation(len(source.lines), "no line end at the end of the file")


# Tests --------------------------------------------------------------------------------------------

def tests_poll(tree: Tree):
    """A test waits for a condition, not for a time."""
    for source in tree.sources:
        finder = SLEEPS.get(source.suffix)
        if finder is None or not source.path.startswith(("test/", "sql/")):
            continue
        for line, seconds in finder(source):
            if seconds is None or seconds > SLEEP_SECONDS_MAX:
                yield source.violation(line, f"sleeps for more than {SLEEP_SECONDS_MAX} s or for a "
                                             "time that is not a number: poll")


def python_sleeps(source: Source) -> typing.Iterator[tuple[int, float | None]]:
    """Calls of sleep(): their line and their literal argument, None for an expression."""
    for node in ast.walk(ast.parse(source.text, source.path)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            seconds = node.args[0].value if node.args and is_number(node.args[0]) else None
            if name == "sleep":
                yield node.lineno, seconds


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float))


def matching_sleeps(pattern: str) -> typing.Callable:
    """Finds sleeps by a pattern whose group, if any, is the number of seconds."""
    def find(source: Source) -> typing.Iterator[tuple[int, float | None]]:
        for match in re.finditer(pattern, source.code if source.is_c else source.text, re.M):
            seconds = match[1] if match.re.groups else None
            yield source.line_at(match.end()), float(seconds) if seconds else None
    return find


SLEEPS = {
    ".py": python_sleeps,
    ".c": matching_sleeps(r"\b(?:u|nano)?sleep\s*\("),
    ".sh": matching_sleeps(r"^[^#\n]*\bsleep[ \t]+([\d.]+)?"),
    ".sql": matching_sleeps(r"\bpg_sleep\w*\s*\((?!\s*0\s*\))"),
    ".spec": matching_sleeps(r"\bpg_sleep\w*\s*\((?!\s*0\s*\))"),
}


# Version ------------------------------------------------------------------------------------------

def version_in_one_place(tree: Tree):
    """The version is written in the control file. Besides, the install scripts bear it in their
    names and repeat it in their guards, and the changelog tells its history."""
    control = tree.files.get(CONTROL)
    match = re.search(r"^default_version\s*=\s*'(\d+\.\d+\.\d+)'",
                      control.text if control else "", re.M)
    if match is None:
        yield Violation(CONTROL, 1, "no default_version of three numbers")
        return
    pattern = re.compile(r"(?<![\d.])" + re.escape(match[1]) + r"(?!\.?\d)")
    for source in tree.sources:
        if source.path in (CONTROL, "CHANGELOG.md"):
            continue
        for number, line in enumerate(source.lines, 1):
            is_guard = is_install_script(source) and line.startswith("\\echo ")
            if pattern.search(line) and not is_guard:
                yield source.violation(number, f"version {match[1]} is written in {CONTROL} only")


def broker_versions_agree(tree: Tree):
    """The broker of docker-compose.yml is that of the sandbox, whose pom.xml names the version."""
    pom = tree.files.get(KAFKA_POM)
    compose = tree.files.get(COMPOSE)
    version = re.search(r"<kafka\.version>(.+?)</kafka\.version>", pom.text if pom else "")
    for match in re.finditer(r"image: apache/kafka:(\S+)", compose.text if compose else ""):
        if version is None or match[1] != version[1]:
            yield compose.violation(compose.line_at(match.start()),
                                    f"Kafka {match[1]}, but {KAFKA_POM} names "
                                    f"{version[1] if version else 'none'}")


RULES = (include_levels, modules_have_levels, pure_modules_know_no_server,
         foreign_apis_have_one_place,
         file_length, function_length, line_length,
         no_debt, block_comments, head_comment, documented_headers,
         clang_format, white_space, tests_poll, version_in_one_place, broker_versions_agree)


def git_files(root: pathlib.Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    run = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return [path for path in run.stdout.split("\0") if path]


def main(root: pathlib.Path) -> int:
    tree = Tree(root, git_files(root))
    violations = sorted({violation for rule in RULES for violation in rule(tree)})
    for violation in violations:
        print(f"{violation.path}:{violation.line}: {violation.text}")
    print(f"lint: {len(tree.files)} files, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(__file__).resolve().parent.parent))
