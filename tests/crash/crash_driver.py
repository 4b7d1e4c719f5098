"""`chaosext …` as a process of its own, without a cluster: `python crash_driver.py run experiment.json …`."""

import sys

from crash_stage import without_a_cluster

from chaosext.cli.main import main

if __name__ == "__main__":
    without_a_cluster()
    main(sys.argv[1:])
