#!/usr/bin/python3
"""Torture: an agent under load on a real broker, killed, paused, robbed of its disk; and what clients saw of it.

    tests/torture/run.py kill   [--program FILE] [--count N] [--seed N]     the agent is killed
    tests/torture/run.py broker ...                                         the broker is
    tests/torture/run.py pause  ...                                         one of two agents is stopped for a while
    tests/torture/run.py disk   ...                                         data folders are lost
    tests/torture/run.py all    [--program FILE] [--share full|ci]          everything

The program must be a test build (`make variant`), which has crash points. Ends with 1 when the checker
(checker.py) complains or when a phase had fewer kills than wanted. A failed run keeps data folders, logs and
topics in build/test-logs/torture and prints its seed; --seed N does the same plan again (times differ, so the
history does, too).

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from brokers import Brokers  # noqa: E402
from disks import Disks  # noqa: E402
from kills import Kills  # noqa: E402
from pauses import Pauses  # noqa: E402

CAMPAIGNS = {"kill": Kills, "broker": Brokers, "pause": Pauses, "disk": Disks}
# How many disturbances of each kind. Of the kills a twentieth, and two at least, must fall into each phase.
SHARES = {"full": {"kill": 200, "broker": 30, "pause": 30, "disk": 5},
          "ci": {"kill": 30, "broker": 4, "pause": 4, "disk": 1}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", choices=[*CAMPAIGNS, "all"])
    parser.add_argument("--program", default=HERE.parents[1] / "build" / "variants" / "torture" / "kinlog")
    parser.add_argument("--count", "--kills", type=int, help="how many kills, pauses, disks")
    parser.add_argument("--share", choices=SHARES, default="full")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    arguments = parser.parse_args()
    chosen = list(CAMPAIGNS) if arguments.campaign == "all" else [arguments.campaign]
    failed = 0
    for name in chosen:
        count = arguments.count or SHARES[arguments.share][name]
        print(f"{name}: {count}, seed {arguments.seed}", flush=True)
        with CAMPAIGNS[name](arguments.program, count, arguments.seed) as campaign:
            failed += not campaign.run()
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
