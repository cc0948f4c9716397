"""Drain3, in the environment of the counterparts: a JSON array of messages on each line of standard input.

Answers for each line {"cpu_s": …, "clusters": […]}: CPU time, and the number of each message's cluster. Its masking is
that of its own example (drain3.ini), everything else its default.
"""

import json
import sys
import time

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

# ruff: noqa: T201 - printing is how it answers

_STARTS, _ENDS = r"((?<=[^A-Za-z0-9])|^)", r"((?=[^A-Za-z0-9])|$)"
MASKING = {
    "ID": rf"{_STARTS}(([0-9a-f]{{2,}}:){{3,}}([0-9a-f]{{2,}})){_ENDS}",
    "IP": rf"{_STARTS}(\d{{1,3}}\.\d{{1,3}}\.\d{{1,3}}\.\d{{1,3}}){_ENDS}",
    "SEQ": rf"{_STARTS}([0-9a-f]{{6,}} ?){{3,}}{_ENDS}",
    "SEQ4": rf"{_STARTS}([0-9A-F]{{4}} ?){{4,}}{_ENDS}",
    "HEX": rf"{_STARTS}(0x[a-f0-9A-F]+){_ENDS}",
    "NUM": rf"{_STARTS}([\-\+]?\d+){_ENDS}",
    "CMD": r"(?<=executed cmd )(\".+?\")",
}


def main() -> None:
    """Serve until the input ends; what was learned stays from line to line."""
    config = TemplateMinerConfig()
    config.masking_instructions = [MaskingInstruction(pattern, mask) for mask, pattern in MASKING.items()]
    miner = TemplateMiner(config=config)
    for line in sys.stdin:
        messages = json.loads(line)
        start = time.process_time()
        clusters = [miner.add_log_message(message)["cluster_id"] for message in messages]
        print(json.dumps({"cpu_s": time.process_time() - start, "clusters": clusters}), flush=True)


if __name__ == "__main__":
    main()
