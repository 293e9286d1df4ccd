"""`python -m cavtool` is `cav`."""

import _signal  # type: ignore[import-not-found]  # the built-in part of `signal`, which takes no time to load
import gc
import sys

# While the program loads, Ctrl-C ends it as it ends any other, instead of with a traceback.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

TYPE_CHECKING = False  # without loading `typing`
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run `cav` and exit."""
    try:
        from cavtool.cli.streams import open_closed_streams

        open_closed_streams()
        from cavtool.cli.app import main as run

        run()
    except KeyboardInterrupt as signalled:
        sys.exit(128 + getattr(signalled, "number", _signal.SIGINT))
    finally:
        gc.freeze()  # skips the garbage collection at exit, which takes a seventh of the time of `cav list`


if __name__ == "__main__":
    main()
