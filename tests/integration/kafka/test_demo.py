"""The whole application on real Kafka: the command that the README shows, against a broker of our own."""

import json
import subprocess
import sys


def test_the_demo_is_exact_on_real_kafka(server):
    answer = subprocess.run(
        [
            *[sys.executable, "-c", "from headrace_cli.main import main; main()"],
            *["demo", "--kafka", server.bootstrap_servers, "--records", "3000", "--json"],
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert result["exact"] is True
    # A few records more than asked for: generated visits end with their last event.
    assert sum(topic["produced"] for topic in result["topics"].values()) >= 3_000
    for topic in result["topics"].values():
        assert topic["produced"] == topic["landed"] + topic["joined"] + topic["dead"]
