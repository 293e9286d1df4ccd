"""All training runs of one folder."""

import builtins
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cavtool.errors import IntegrityFailure, InvalidInput, NotFound, closest
from cavtool.names import check_name
from cavtool.recipes import LearnRecipe
from cavtool.registry.record import Clip
from cavtool.runs import record
from cavtool.runs.record import RunRecord
from cavtool.runs.run import Run
from cavtool.system.files import writing_to

LATEST = "latest"  # stands for the id of the newest run


class Runs:
    """The training runs in a folder, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, name: str, recipe: LearnRecipe, *, clip: Clip, revision: str, replace: bool = False) -> Run:
        """Begin a run that learns the motion `name`. Raises InvalidInput for a bad name, RequirementError."""
        now = datetime.now(UTC)
        run_id = f"{check_name(name)}-{now.astimezone():%Y%m%d-%H%M}-{secrets.token_hex(2)}"
        folder = self.root / f".tmp-{run_id}"  # renamed when it is complete
        with writing_to(self.root):
            folder.mkdir(parents=True)
        created = now.isoformat(timespec="seconds")
        request = RunRecord(name=name, created=created, replace=replace, revision=revision, recipe=recipe, clip=clip)
        record.save(folder, request)
        with writing_to(self.root):
            return Run(folder.rename(self.root / run_id))

    def open(self, run_id: str) -> Run:
        """The run with this id, or the only one with this prefix; its record may be damaged. `latest` is the newest.

        Raises NotFound, InvalidInput if several ids have this prefix.
        """
        runs = {run.id: run for run in self._all()}
        if run_id in runs:
            return runs[run_id]
        if run_id == LATEST and (newest := self.list()):
            return newest[0]
        beginning = [run for each, run in runs.items() if run_id and each.startswith(run_id)]
        if len(beginning) > 1:
            ids = ", ".join(f"`{run.id}`" for run in beginning[:3]) + (", …" if len(beginning) > 3 else "")
            raise InvalidInput(f"`{run_id}` matches {len(beginning)} runs: {ids}", hint="give a longer part of the id")
        if not beginning:
            raise NotFound(f"no run `{run_id}`", hint=closest(run_id, runs, "`cav runs list` shows what there is"))
        return beginning[0]

    def ids(self) -> builtins.list[str]:
        """The ids of all runs, of damaged ones too, sorted."""
        return sorted(run.id for run in self._all())

    def list(self) -> builtins.list[Run]:
        """The runs whose record can be read, the newest first."""
        dated = []
        for run in self._all():
            with suppress(IntegrityFailure):
                dated.append((run.record.created, run.id, run))
        return [run for *_, run in sorted(dated, reverse=True)]

    def broken(self) -> builtins.list[IntegrityFailure]:
        """The reasons why the other records cannot be read; each names its run."""
        failures = []
        for run in self._all():
            try:
                _ = run.record
            except IntegrityFailure as failure:
                if run.folder.exists():  # it may have been deleted meanwhile
                    failures.append(failure)
        return failures

    def _all(self) -> builtins.list[Run]:
        try:
            folders = list(self.root.iterdir())
        except FileNotFoundError:
            return []
        return [Run(folder) for folder in folders if folder.name[0] != "." and folder.is_dir()]
