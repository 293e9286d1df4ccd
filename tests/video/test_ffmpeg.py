import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cavtool import video
from cavtool.errors import RequirementError
from tests.video.films import FFMPEG


@pytest.mark.skipif(os.name == "nt", reason="makes shell scripts")
@pytest.mark.usefixtures("fresh_choice")
@pytest.mark.parametrize(
    ("script", "chosen"),
    [
        (f'exec "{FFMPEG}" "$@"', "system"),
        (f'"{FFMPEG}" "$@" | grep -v webp_anim', "bundled"),
        (f'"{FFMPEG}" "$@" | sed "s/libx264 //"', "bundled"),
        ("exit 1", "bundled"),
        ("exit 0", "bundled"),
    ],
    ids=["all-codecs", "no-animated-webp", "no-h264-encoder", "broken", "silent"],
)
def test_the_systems_ffmpeg_is_used_if_it_supports_all_codecs(
    script: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "ffmpeg"
    system.write_text(f"#!/bin/sh\n{script}\n")
    system.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert video.ffmpeg_exe() == {"system": str(system), "bundled": FFMPEG}[chosen]


@pytest.mark.usefixtures("fresh_choice")
def test_the_error_for_a_missing_ffmpeg_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "gone"))
    with pytest.raises(RequirementError, match="no working `ffmpeg`") as refused:
        video.ffmpeg_exe()
    assert "imageio-ffmpeg" in str(refused.value.hint)


@pytest.mark.skipif(os.name == "nt", reason="makes shell scripts")
@pytest.mark.usefixtures("fresh_choice")
@pytest.mark.parametrize(
    ("script", "message"),
    [("exit 0", "no working `ffmpeg`"), (f'"{FFMPEG}" "$@" | sed "s/libx264 //"', "has no `libx264`")],
)
def test_an_ffmpeg_that_cannot_write_is_found_out_before_any_work(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    with pytest.raises(RequirementError, match=message):
        video.check_ffmpeg()


_WRITER = """
import signal
import ffmpeg
from cavtool.video.ffmpeg import run

signal.signal(signal.SIGINT, lambda *_: None)
noise = ffmpeg.input("testsrc=d=2", f="lavfi", re=None)
print("begun", flush=True)
print(len(run(noise.output("pipe:", format="rawvideo", pix_fmt="gray", s="8x8", r=8), "cannot write")))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals a process group")
def test_ctrl_c_does_not_truncate_a_file_if_the_caller_defers_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "begun\n"
        time.sleep(0.5)
        os.killpg(writer.pid, signal.SIGINT)  # as a terminal does
        written = writer.stdout.read()
    assert writer.returncode == 0
    assert int(written) >= 16 * 64
