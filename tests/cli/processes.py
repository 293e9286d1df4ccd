"""The modules that a `cav` process imports."""

import subprocess
import sys

# Modules that Python itself imports when it starts do not count.
SCRIPT = """
import sys
before = set(sys.modules)
from cavtool.__main__ import main
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in set(sys.modules) - before}, file=sys.stderr)
"""


def packages_loaded(arguments: list[str], environment: dict[str, str]) -> set[str]:
    """The top-level packages that `cav` with these arguments imports."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    loaded = done.stderr.splitlines()[-1].split()
    return {name for name in loaded if not name.endswith("__mypyc")}  # the compiled half of a package
