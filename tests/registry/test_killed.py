"""Killed and concurrent processes: readers always see a complete registry, and no asset is ever lost."""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cavtool.registry import Registry, store
from cavtool.registry.trash import list_trash
from tests import nursery
from tests.nursery import KILLED, Job, Nursery, job
from tests.registry import samples
from tests.registry.samples import put, put_over, remove, seed_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills and forks as POSIX does")
ROUNDS = int(os.environ.get("CAV_KILL_ROUNDS", "4"))  # of 16 kills or more; `tests.campaigns.registry` runs more rounds


@pytest.fixture(scope="module")
def processes() -> Iterator[Nursery]:
    with nursery.opened() as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "assets"
    put(root, "earlier", seed=100)
    return root


def labels_of(act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every failpoint that `act` passes."""
    passed: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(store, "failpoint", passed.append)
        act()
    return passed


def state(root: Path) -> dict[str, int]:
    """Every name a reader finds, with the seed of its asset; every asset must be complete."""
    registry = Registry(root)
    assert registry.broken() == []
    found = {name: registry.read(name, seed_of) for name in registry.names()}
    assert {asset.record.name for asset in registry.list()} == set(found)
    for name in found:
        registry.verify(name)
    return found


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith((".tmp-", ".new-"))]


class Kills:
    """Runs jobs that must be killed, and checks the registry they leave."""

    def __init__(self, root: Path, processes: Nursery) -> None:
        self.root, self.processes, self.count = root, processes, 0

    def __call__(self, doomed: Job, *, allowed: list[dict[str, int]]) -> dict[str, int]:
        assert self.processes.run(doomed) == [KILLED], doomed
        self.count += 1
        found = state(self.root)
        assert found in [{"earlier": 100, **each} for each in allowed], doomed
        return found


def test_killed_at_every_failpoint(root: Path, processes: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kills(root, processes)
    seed = 1
    new = labels_of(lambda: put(root, "twirl", seed), monkeypatch)
    over = labels_of(lambda: put_over(root, "twirl", seed), monkeypatch)
    gone = labels_of(lambda: remove(root, "twirl"), monkeypatch)
    assert len(new) >= 7
    assert set(over) == set(new) | set(gone)
    seen: set[tuple[str, bool]] = set()
    for _ in range(ROUNDS):
        for label in new:
            found = kill(job(put, root, "twirl", seed := seed + 1, failpoint=label), allowed=[{}, {"twirl": seed}])
            seen.add(("new", "twirl" in found))
            put_over(root, "twirl", seed := seed + 1)
            assert (state(root)["twirl"], leftovers(root)) == (seed, [])
            remove(root, "twirl")
        put(root, "twirl", seed := seed + 1)
        for label in over:
            old = state(root)["twirl"]
            doomed = job(put_over, root, "twirl", seed := seed + 1, failpoint=label)
            found = kill(doomed, allowed=[{"twirl": old}, {"twirl": seed}])
            seen.add(("over", found["twirl"] == seed))
            put(root, "zigzag", seed)  # a writer of another name cleans up
            assert (state(root)["twirl"], leftovers(root)) == (found["twirl"], [])
            remove(root, "zigzag")
        for label in gone:
            kill(job(remove, root, "twirl", failpoint=label), allowed=[{}])
    assert kill.count >= 16 * ROUNDS
    assert seen == {(case, done) for case in ("new", "over") for done in (True, False)}


@pytest.mark.parametrize("left_at", ["put:copied weights.safetensors", "put:pending", "discard:moved"])
def test_killed_while_cleaning_up(
    left_at: str, root: Path, processes: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = Kills(root, processes)

    def leave(seed: int) -> int:
        put_over(root, "twirl", seed)
        kill(job(put_over, root, "twirl", seed + 1, failpoint=left_at), allowed=[{"twirl": seed}, {"twirl": seed + 1}])
        return state(root)["twirl"]

    leave(1)
    labels = labels_of(lambda: put_over(root, "twirl", 3), monkeypatch)
    assert left_at.startswith("put:copied") or labels[0].startswith("recover:")
    for label in labels:
        now = leave(1)
        kill(job(put_over, root, "twirl", 3, failpoint=label), allowed=[{"twirl": now}, {"twirl": 3}])
    put_over(root, "twirl", 4)
    assert (state(root), leftovers(root)) == ({"earlier": 100, "twirl": 4}, [])


def test_killed_while_renaming(root: Path, processes: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kills(root, processes)
    put(root, "twirl", seed=1)
    labels = labels_of(lambda: samples.rename(root, "twirl", "spin"), monkeypatch)
    seen = set()
    for label in labels:
        for name in set(state(root)) - {"earlier"}:
            remove(root, name)
        put(root, "twirl", seed=2)
        doomed = job(samples.rename, root, "twirl", "spin", failpoint=label)
        found = kill(doomed, allowed=[{"twirl": 2}, {"twirl": 2, "spin": 2}, {"spin": 2}])
        seen.add(tuple(found))
        put_over(root, "zigzag", seed=3)
        assert (set(state(root)), leftovers(root)) == ({*found, "zigzag"}, [])
    assert len(seen) == 3


def test_killed_while_annotating_and_restoring(root: Path, processes: Nursery) -> None:
    kill = Kills(root, processes)
    put(root, "twirl", seed=1)
    notes = []
    for moment in ("saved", "synced", "replaced"):
        doomed = job(samples.annotate, root, "twirl", moment, failpoint=f"write:{moment} record.toml")
        kill(doomed, allowed=[{"twirl": 1}])
        notes.append(Registry(root).get("twirl").record.note)
    assert notes == ["", "", "replaced"]
    remove(root, "twirl")
    kill(job(samples.restore, root, "twirl", failpoint="restore:moved"), allowed=[{"twirl": 1}])


def test_killed_at_any_moment(root: Path, processes: Nursery) -> None:
    draw = random.Random(7)
    for _ in range(20):
        assert processes.run(job(samples.replace_for, root, "twirl", 60, kill_after=draw.uniform(0.02, 0.08))) == [
            KILLED
        ]
        assert set(state(root)) <= {"earlier", "twirl"}
    assert "twirl" in state(root)
    put_over(root, "twirl", 50)
    assert (state(root), leftovers(root)) == ({"earlier": 100, "twirl": 50}, [])


def test_one_of_several_writers_of_a_new_name_wins(root: Path, processes: Nursery) -> None:
    codes = processes.run(*(job(put, root, "twirl", seed) for seed in range(4)))
    assert sorted(codes) == [0, 4, 4, 4]
    assert state(root)["twirl"] == codes.index(0)


def test_writers_that_replace_one_name_lose_nothing(root: Path, processes: Nursery) -> None:
    codes = processes.run(*(job(samples.put_many, root, "twirl", 10 * n, 5) for n in range(4)))
    assert codes == [0, 0, 0, 0]
    written = {10 * n + k for n in range(4) for k in range(5)}
    last = state(root)["twirl"]
    removed = set()
    for folder in Registry(root).trash.iterdir():
        folder.rename(root / "twirl-again")
        record = root / "twirl-again" / "record.toml"
        record.write_text(record.read_text().replace('name = "twirl"', 'name = "twirl-again"'))
        removed.add(state(root)["twirl-again"])
        (root / "twirl-again").rename(root.parent / f"seen-{len(removed)}")
    assert removed | {last} == written
    assert len(removed) == len(written) - 1


def test_a_reader_always_finds_an_asset_that_is_being_replaced(root: Path, processes: Nursery) -> None:
    put(root, "twirl", seed=1)
    processes.start(job(samples.replace_for, root, "twirl", 2.0))
    registry = Registry(root)
    seen, num_reads, end = set(), 0, time.monotonic() + 2.0
    while time.monotonic() < end:
        assert registry.names() == ["earlier", "twirl"]
        assert [asset.record.name for asset in registry.list()] == ["earlier", "twirl"]
        assert registry.get("twirl").record.name == "twirl"
        seen.add(registry.read("twirl", seed_of))
        num_reads += 1
    assert processes.wait() == [0]
    assert num_reads > 20
    assert len(seen) > 1


def test_random_operations_of_several_processes_lose_nothing(root: Path, processes: Nursery) -> None:
    assert set(processes.run(*(job(samples.operate_at_random, root, number, 2.0) for number in range(4)))) == {0}
    done = samples.tally_of(root)
    found = state(root)
    # Every asset that was put or copied and not deleted permanently is in the registry or in the trash.
    assert len(found) + len(list_trash(Registry(root))) == 1 + done["put"] + done["copy"] - done["emptied"]
    assert done["put"] > 0
    assert leftovers(root) == []


def test_a_writer_says_that_it_waits(root: Path, processes: Nursery) -> None:
    processes.start(job(samples.hold, root, 0.6))
    time.sleep(0.2)
    messages: list[str] = []
    Registry(root, on_wait=messages.append).remove("earlier")
    assert processes.wait() == [0]
    assert messages == ["waiting for another process to finish with the registry"]


def test_a_full_disk_changes_nothing(root: Path, processes: Nursery) -> None:
    put(root, "twirl", seed=1)
    assert processes.run(job(samples.put_without_space, root, "twirl", 2)) == [6]
    assert (state(root), leftovers(root)) == ({"earlier": 100, "twirl": 1}, [])
