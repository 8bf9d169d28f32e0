"""The proxy's service file is one that systemd takes, and starts the proxy as the proxy can be started."""

import subprocess

import service
from host import program

RUN_SECONDS_MAX = 20


def test_the_service_file_is_right(tmp_path):
    # systemd looks whether the program is there.
    text = service.PATH.read_text(encoding="utf-8").replace(service.command()[0], str(program("order-proxy")))
    path = tmp_path / service.PATH.name
    path.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)
    # It speaks of other units of the machine, too.
    assert path.name not in result.stderr and result.returncode == 0, result.stderr


def test_its_command_starts_the_proxy(tmp_path):
    configuration = tmp_path / "order-proxy.ini"
    words = service.command()
    assert words[0].endswith("/order-proxy") and words[-1] == "/etc/order-proxy.ini"
    printed = subprocess.run(
        [program("order-proxy"), "--print-config"], capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=True
    )
    configuration.write_text(printed.stdout, encoding="utf-8")
    command = [program("order-proxy"), *words[1:-1], str(configuration), "--check-config"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)
    assert checked.returncode == 0, checked.stderr
