"""`limner`, and `python -m limner`."""

import os
import sys


def main() -> int:
    """Run the command line. What torch reads from the environment is set before it can be loaded."""
    # Threads that wait for work spin for some microseconds, and then sleep and leave the processor to those that have
    # some; beside other busy processes they sleep at once (limner.training.processor).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    from limner.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
