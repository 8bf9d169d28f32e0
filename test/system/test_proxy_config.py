"""A wrong configuration is refused with file, line and what is allowed; nothing is started. Shows 7 of the issue."""

import os
import re
import subprocess

import pytest
from host import program
from stack import SandboxError

RUN_SECONDS_MAX = 20
EXIT_CONFIG = 2

# A file, the line that is wrong, and what must be said of it.
WRONG = {
    "an unknown setting": ("[listen]\nadress = 127.0.0.1:1\n", 2, ["adress", "listen", "address"]),
    "an unknown section": ("# a comment\n\n[listne]\naddress = 127.0.0.1:1\n", 4, ["listne", "[listen]", "[database]"]),
    "a setting before any section": ("address = 127.0.0.1:1\n", 1, ["address", "[listen]"]),
    "no number": ("[listen]\nconnections_max = many\n", 2, ["connections_max", "many", "1", "1000000"]),
    "a number too small": ("[listen]\nconnections_max = 0\n", 2, ["connections_max", "1", "1000000"]),
    "a number too large": ("[database]\n\nbatch_max = 4097\n", 3, ["batch_max", "4097", "4096"]),
    "a number beyond all numbers": ("[listen]\nin_flight_max = 99999999999999999999\n", 2, ["in_flight_max"]),
    "a negative number": ("[account]\nretries_max = -1\n", 2, ["retries_max", "-1", "0", "5"]),
    "a duration without a unit": ("[account]\nattempt_timeout = 50\n", 2, ["attempt_timeout", "ms"]),
    "a duration in an unknown unit": ("[account]\nattempt_timeout = 50 parsec\n", 2, ["attempt_timeout", "ms"]),
    "a duration out of range": ("[shutdown]\ngrace = 11 min\n", 2, ["grace", "10 min"]),
    "a size in an unknown unit": ("[listen]\noutput_bytes_max = 4 MB\n", 2, ["output_bytes_max", "MiB"]),
    "a size too small": ("[listen]\noutput_bytes_max = 1 KiB\n", 2, ["output_bytes_max", "64 KiB"]),
    "no address": ("[listen]\naddress = nowhere\n", 2, ["address", "nowhere", "host:port"]),
    "a port too large": ("[admin]\naddress = 127.0.0.1:65536\n", 2, ["address", "host:port"]),
    "endpoints with an empty one": ("[account]\nendpoints = a:1,,b:2\n", 2, ["endpoints", "host:port"]),
    "one endpoint too many": ("[account]\nendpoints = " + ",".join(["a:1"] * 65) + "\n", 2, ["endpoints", "64"]),
    "a line too long": ("[log]\n\nlevel = " + "x" * 10_000 + "\n", 3, ["longer than"]),
    "no connection string": ("[database]\nwriter = nonsense\n", 2, ["database.writer", "connection string"]),
    "no endpoints": ("[account]\nendpoints =\n", 2, ["endpoints", "host:port"]),
    "a CA file that is not there": (
        "[account]\ntls = on\ntls_ca = /nowhere/ca.pem\n",
        3,
        ["tls_ca", "/nowhere/ca.pem", "No such file or directory", "PEM certificates"],
    ),
    "a CA file without certificates": (
        "[account]\ntls = on\ntls_ca = /etc/passwd\n",
        3,
        ["tls_ca", "/etc/passwd", "no certificate", "PEM certificates"],
    ),
    "a certificate that is not there": (
        "[account]\ntls = on\ntls_certificate = /nowhere/me.pem\ntls_key = /nowhere/me.key\n",
        3,
        ["tls_certificate", "/nowhere/me.pem", "No such file or directory"],
    ),
    "a certificate without its key": (
        "[account]\ntls = on\ntls_certificate = /nowhere/me.pem\n",
        3,
        ["tls_certificate", "tls_key"],
    ),
    "a CA file without TLS": ("[account]\ntls_ca = /nowhere/ca.pem\n", 2, ["tls_ca", "tls = on"]),
    "a switch that is neither on nor off": ("[account]\ntls = maybe\n", 2, ["tls", "maybe", "on or off"]),
    "an unknown level": ("[log]\nlevel = loud\n", 2, ["level", "loud", "debug", "warning"]),
    "an unknown format": ("[log]\nformat = xml\n", 2, ["format", "xml", "json"]),
    "a line that is nothing": ("[listen]\n\nwhat is this\n", 3, []),
    "a section that does not end": ("[listen\naddress = 127.0.0.1:1\n", 1, []),
    "a setting twice": ("[log]\nlevel = info\nlevel = debug\n", 3, ["level", "2"]),
    "more connections than the server has": (
        "[database]\ninstances = 20\nwriter_connections = 40\nserver_connections = 200\n",
        3,
        ["20", "40", "800", "200", "10"],
    ),
    "the same with a reader": (
        "[database]\nreader = host=r\ninstances = 10\nwriter_connections = 10\nreader_connections = 11\n"
        "server_connections = 200\n",
        4,
        ["210", "200"],
    ),
    "an attempt longer than all": ("[account]\nattempt_timeout = 91ms\n", 2, ["attempt_timeout", "overall_timeout"]),
    "a breaker that opens for nothing": (
        "[account]\nbreaker_failures_percent = 0\n",
        2,
        ["breaker_failures_percent", "1", "100"],
    ),
    "a window beyond its memory": ("[account]\nbreaker_window = 16385\n", 2, ["breaker_window", "16384"]),
    "no place for a call": ("[account]\ncalls_max = 0\n", 2, ["calls_max", "1", "65536"]),
    "no time for a hedge": ("[account]\nhedge = maybe\n", 2, ["hedge", "off, auto", "1 ms", "ms"]),
    "a hedge too soon": ("[account]\nhedge = 10us\n", 2, ["hedge", "10us", "1 ms"]),
    "an empty connection string": ("[database]\nwriter =\n", 2, ["writer"]),
}


@pytest.fixture
def run(tmp_path):
    """run(text, *arguments, **environment) -> (exit status, output, path of the file)"""
    path = tmp_path / "order-proxy.ini"

    def run_proxy(text, *arguments, variables=None):
        path.write_text(text)
        return *run_program("--config", str(path), *arguments, variables=variables), path

    return run_proxy


def run_program(*arguments, variables=None):
    """(exit status, output) of order-proxy, which must end by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORDER_PROXY", "PG"))}
    result = subprocess.run(
        [str(program("order-proxy")), *arguments],
        env={**environment, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_SECONDS_MAX,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout


def check_refusal(status, output, where, words):
    assert status == EXIT_CONFIG, output
    line = next((line for line in output.splitlines() if line.startswith(f"{where}: ")), None)
    assert line is not None, output
    for word in words:
        assert word in line, f"{word!r} is not in {line!r}"


@pytest.mark.parametrize("arguments", [[], ["--check-config"]], ids=["at the start", "asked for"])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_refused_with_its_line_and_what_is_allowed(run, case, arguments):
    text, number, words = WRONG[case]
    status, output, path = run(text, *arguments)
    check_refusal(status, output, f"{path}:{number}", words)


def test_all_that_is_wrong_is_told_at_once(run):
    text = "[listen]\nadress = 1\nconnections_max = 0\n[nowhere]\nx = 1\n[log]\nlevel = loud\n"
    status, output, path = run(text, "--check-config")
    assert status == EXIT_CONFIG
    assert re.findall(rf"^{re.escape(str(path))}:(\d+): ", output, re.M) == ["2", "3", "5", "7"]


@pytest.mark.parametrize("arguments", [[], ["--check-config"]], ids=["at the start", "asked for"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, arguments):
    missing = tmp_path / "missing.ini"
    status, output = run_program("--config", str(missing), *arguments)
    assert (status, f"{missing}: No such file or directory" in output) == (EXIT_CONFIG, True), output
    status, output = run_program("--config", str(tmp_path), *arguments)
    assert (status, str(tmp_path) in output) == (EXIT_CONFIG, True), output


@pytest.mark.parametrize("arguments", [[], ["--check-config"]], ids=["at the start", "asked for"])
def test_a_wrong_value_of_the_environment_is_refused_by_its_name(run, arguments):
    name = "ORDER_PROXY_LISTEN_CONNECTIONS_MAX"
    status, output, _ = run("", *arguments, variables={name: "-5"})
    check_refusal(status, output, f"environment {name}", ["-5", "1000000"])


def test_the_environment_overrides_the_file(run):
    variables = {"ORDER_PROXY_DATABASE_SERVER_CONNECTIONS": "3"}
    text = "[database]\nserver_connections = 200\nwriter_connections = 4\n"
    status, output, path = run(text, "--check-config", variables=variables)
    check_refusal(status, output, f"{path}:3", ["4", "3"])


def test_a_password_in_a_wrong_file_is_not_shown(run):
    status, output, _ = run("[database]\nwriter = password=hunter2 host=x\nreader_connections = 0\nno word hunter2\n")
    assert status == EXIT_CONFIG
    assert "hunter2" not in output


@pytest.mark.parametrize("text", ["", "[listen]\n", "; nothing\n# nothing\n\n", "\ufeff[log]\r\nlevel = debug\r\n"])
def test_a_good_file_is_called_good_and_nothing_is_started(run, text):
    status, output, _ = run(text, "--check-config")
    assert status == 0, output


def test_what_print_config_writes_is_a_good_file_with_every_setting(run):
    status, text = run_program("--print-config")
    assert status == 0
    for name in ("connections_max", "output_bytes_max", "writer", "lifetime", "endpoints", "attempt_timeout", "grace"):
        assert re.search(rf"^{name} = ", text, re.M), name
    status, output, _ = run(text, "--check-config")
    assert status == 0, output


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--config"], ["stray"]], ids=" ".join)
def test_a_wrong_command_line_is_refused(arguments):
    status, output = run_program(*arguments)
    assert status == EXIT_CONFIG, output
    assert output


def test_help_and_version_are_told():
    for argument, word in (("--help", "--check-config"), ("--version", "order-proxy")):
        status, output = run_program(argument)
        assert (status, word in output) == (0, True), output


def test_a_port_that_is_taken_ends_the_start_and_says_why(make_whole):
    whole = make_whole()
    text = f"[listen]\naddress = {whole.proxy.address}\n[admin]\naddress = 127.0.0.1:0\n"
    path = whole.proxy.directory / "other.ini"
    path.write_text(text)
    status, output = run_program("--config", str(path))
    assert status not in (0, EXIT_CONFIG)
    assert whole.proxy.address in output and "Address already in use" in output


def test_a_reload_takes_what_can_change_and_keeps_the_old_when_the_new_is_wrong(make_whole):
    whole = make_whole()
    proxy = whole.proxy
    proxy.settings["log.level"] = "debug"
    proxy.reload()
    wait_for_log(proxy, "log.level")
    start = len(proxy.log_text())
    proxy.settings["log.level"] = "loud"
    proxy.reload()
    wait_for_log(proxy, f"{proxy.config_path}:", start)
    with whole.client(whole.new_account()) as client:
        assert client.place().code == 200
    del proxy.settings["log.level"]


def wait_for_log(proxy, text, start=0):
    from stack import wait_until

    wait_until(lambda: text in proxy.log_text()[start:], 10, f"log line with {text!r}")


def test_the_fixture_would_see_a_wrong_file(make_whole):
    """The way from a wrong setting to a failed start, as every other test of the proxy would meet it."""
    with pytest.raises(SandboxError, match="exit 2"):
        make_whole(settings={"listen.connections_max": "none"})
