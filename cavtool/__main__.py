"""`python -m cavtool` is `cav`."""

import gc
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run `cav` and exit."""
    try:
        from cavtool.cli.streams import open_closed_streams  # here, so that a Ctrl-C meanwhile is not a traceback

        open_closed_streams()
        from cavtool.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # skips the garbage collection at exit, which takes a seventh of the time of `cav list`


if __name__ == "__main__":
    main()
