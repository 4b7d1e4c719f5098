"""`python -m tests.trust.lab.command …` is `chaosext …`, whether or not its script is on the PATH."""

from chaosext.cli.main import main

if __name__ == "__main__":
    main()
