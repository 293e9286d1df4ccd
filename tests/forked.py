"""`cav` in forked processes: real exit codes, signals and kills, without the seconds that importing torch takes."""

import os
import signal
import sys
import time
from pathlib import Path

# Imported once, before the nursery forks.
import cavtool.core.backbones.unet3d
import cavtool.studio.generate
import cavtool.studio.learn  # noqa: F401
from cavtool.cli.app import main
from tests.cli.conftest import Finished
from tests.nursery import Nursery, job


def cav(current: str, home: str, folder: str, *arguments: str) -> None:
    """A job of the nursery: call the program in the folder `current`.

    Its process id and its output go to files in `folder`.
    """
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        with Path(folder, name).open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    Path(folder, "pid").write_text(str(os.getpid()))
    os.chdir(current)
    os.environ["CAV_HOME"] = home
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever started the tests: `nohup` has it ignored
    sys.argv = ["cav", *arguments]
    main()


class ForkedCav:
    """Runs one `cav` process at a time."""

    def __init__(self, processes: Nursery, home: Path, folder: Path) -> None:
        self._processes, self._home, self._folder = processes, home, folder
        self._is_started = False

    def start(self, *arguments: str, failpoint: str = "") -> None:
        """Start `cav` with these arguments; with `failpoint`, it is killed there."""
        (self._folder / "pid").unlink(missing_ok=True)
        self._processes.start(job(cav, Path.cwd(), self._home, self._folder, *arguments, failpoint=failpoint))
        self._is_started = True

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        while not (pid := self._pid()):
            time.sleep(0.01)
        os.kill(pid, number)

    def wait(self) -> Finished:
        """Wait for the end of the process; the exit code of a killed one is -9."""
        (code,) = self._processes.wait()
        self._is_started = False
        return Finished(code, *((self._folder / name).read_text() for name in ("stdout", "stderr")))

    def __call__(self, *arguments: str, failpoint: str = "") -> Finished:
        """Start `cav` and wait for its end."""
        self.start(*arguments, failpoint=failpoint)
        return self.wait()

    def close(self) -> None:
        """Kill the process of a test that failed before it waited."""
        if self._is_started:
            self.signal(9)
            self.wait()

    def _pid(self) -> int:
        try:
            return int((self._folder / "pid").read_text() or 0)
        except FileNotFoundError:
            return 0
