"""docker-compose.yml says what docker-compose understands, and builds targets that the Dockerfile has."""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_compose_file_is_valid_and_fits_the_dockerfile():
    command = ["docker-compose", "--project-directory", str(ROOT), "-f", str(ROOT / "docker-compose.yml")]
    result = subprocess.run([*command, "config"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "target: proxy" in result.stdout
    dockerfile = (ROOT / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.M))
    targets = set(re.findall(r"target: (\S+)", result.stdout))
    assert targets == {"postgres", "account", "proxy"} and targets <= stages, json.dumps([*targets, *stages])
    for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile, re.M):
        assert (ROOT / source).exists(), source
