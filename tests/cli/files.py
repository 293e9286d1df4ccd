"""Files with an old modification time."""

import os
import time
from pathlib import Path


def set_age(path: Path, days: float) -> None:
    """Set the modification time of a file, or of a folder and everything in it, to `days` ago."""
    moment = time.time() - days * 86400
    for each in (path, *path.rglob("*")):
        os.utime(each, (moment, moment))
