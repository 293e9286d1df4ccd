"""The Hugging Face Hub: its cache on this machine, the files of a repository, and downloading them.

Only `huggingface_hub` talks to the Hub. It continues a download whose connection breaks; a file that is complete is
never downloaded again.
"""

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path
from typing import Any

from cavtool.errors import CavError, IntegrityFailure, NotFound, RequirementError, closest
from cavtool.events import OnEvent, Transfer
from cavtool.models.catalogue import CATALOGUE

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)"
    r"(?:\.(?P<before>[a-z]\w*))?(?:-\d+-of-\d+)?(?:\.(?P<after>[a-z]\w*))??"
    r"\.(?P<kind>safetensors|bin)(?:\.index(?:\.(?P<index>\w+))?\.json)?"
)
_CHOICES = [(kind, variant) for kind in ("safetensors", "bin") for variant in ("fp16", None, "bf16")]
_SMALL_FILES = (".json", ".txt", ".model")
_UNNEEDED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
_REPORT_EVERY = 0.2  # seconds


@dataclass(frozen=True)
class Listing:
    """A repository at one commit: the size in bytes of each file by its path."""

    source: str
    commit: str
    files: Mapping[str, int]


def is_hub_id(text: str) -> bool:
    """Whether it has the form `owner/name`."""
    return _ID.fullmatch(text) is not None


def snapshot(source: str, commit: str) -> Path:
    """The folder of a repository at a commit in the Hub's cache, which need not exist."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{source.replace('/', '--')}" / "snapshots" / commit


def list_files(source: str, revision: str = "") -> Listing:
    """The files of a repository at a commit, tag or branch (default: the newest).

    Raises NotFound for no such repository or revision, RequirementError if the Hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _explain(source):
        info = HfApi().model_info(source, revision=revision or None, files_metadata=True)
    return Listing(source, str(info.sha), {each.rfilename: each.size or 0 for each in info.siblings or ()})


def choose_files(paths: Iterable[str]) -> list[str]:
    """The files of a pipeline, or of a single model, that are needed: configs, tokenizer, one set of weights a part.

    Safetensors come before pickles (.bin), and fp16 before other precisions.
    """
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if "/" not in folder and folder not in _UNNEEDED_PARTS:
            folders.setdefault(folder, []).append(name)
    chosen = [f"{folder}/{name}".lstrip("/") for folder, names in folders.items() for name in _chosen(names)]
    return sorted(chosen)


def download(listing: Listing, paths: Iterable[str], on_event: OnEvent = lambda _: None) -> Path:
    """Download files of a repository that are not in the Hub's cache; returns the folder they are in.

    Raises RequirementError if the Hub cannot be reached or the disk is full, in which case no partial file is kept.
    """
    from huggingface_hub import hf_hub_download

    folder = snapshot(listing.source, listing.commit)
    missing = [path for path in paths if not (folder / path).exists()]
    total = sum(listing.files[path] for path in missing)
    _check_space(folder, total)
    progress = _Progress(listing.source, total, on_event)
    for path in missing:
        with _explain(listing.source):
            hf_hub_download(listing.source, path, revision=listing.commit, tqdm_class=progress.bar())
        progress.finish(listing.files[path])
    return folder


def delete(source: str, commit: str) -> None:
    """Delete a repository's commit from the Hub's cache, with all files that no other commit of it uses."""
    from huggingface_hub import constants, scan_cache_dir

    if snapshot(source, commit).exists():
        scan_cache_dir(constants.HF_HUB_CACHE).delete_revisions(commit).execute()


def _chosen(names: Iterable[str]) -> list[str]:
    """Of the files of one folder: the small ones, and the first set of weights of `_CHOICES` that it has."""
    small: list[str] = []
    weights: dict[tuple[str, str | None], list[str]] = {}
    for name in names:
        if match := _WEIGHTS.fullmatch(name):
            variant = match["before"] or match["after"] or match["index"]
            weights.setdefault((match["kind"], variant), []).append(name)
        elif name.endswith(_SMALL_FILES):
            small.append(name)
    return small + next((weights[choice] for choice in _CHOICES if choice in weights), [])


class _Progress:
    """Reports the bytes of several files, downloaded one after the other."""

    def __init__(self, source: str, total: int, on_event: OnEvent) -> None:
        self._source, self._total, self._on_event = source, total, on_event
        self._finished, self._began, self._reported = 0, time.monotonic(), 0.0

    def bar(self) -> Any:
        """A progress bar that `huggingface_hub` updates: of several for one file, the most advanced one counts."""
        from tqdm import tqdm

        def moved(num_bytes: float) -> None:
            if time.monotonic() - self._reported > _REPORT_EVERY:
                self._report(self._finished + int(num_bytes))

        class Bar(tqdm):  # type: ignore[misc]
            most = 0.0

            def __init__(self, *_: Any, **options: Any) -> None:
                super().__init__(disable=True, total=options.get("total"), initial=options.get("initial") or 0)

            def update(self, n: float | None = 1) -> bool | None:
                self.n += n or 0
                Bar.most = max(Bar.most, self.n)
                moved(Bar.most)
                return None

        return Bar

    def finish(self, size: int) -> None:
        """One more file is complete."""
        self._finished += size
        self._report(self._finished)

    def _report(self, done: int) -> None:
        self._reported = time.monotonic()
        done = min(done, self._total)
        self._on_event(Transfer(self._source, done, self._total, round(self._reported - self._began, 3)))


def _check_space(folder: Path, total: int) -> None:
    """Raise RequirementError unless the disk of `folder` has room for `total` bytes."""
    existing = next(each for each in folder.parents if each.exists())
    free = shutil.disk_usage(existing).free
    if total > free:
        raise _no_space(f"the download needs {total / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def _no_space(reason: str) -> RequirementError:
    hint = "free some space, or set `HF_HUB_CACHE` to a folder on another disk"
    return RequirementError(f"cannot write to the Hub's cache: {reason}", hint=hint)


@contextmanager
def _explain(source: str) -> Iterator[None]:
    """Raises an error the user can read in place of those of `huggingface_hub`, whose log messages are silenced."""
    from huggingface_hub import errors
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    try:
        yield
    except errors.GatedRepoError as error:
        hint = f"accept its terms at https://huggingface.co/{source}, then `hf auth login`"
        raise RequirementError(f"`{source}` asks you to accept its terms first", hint=hint) from error
    except errors.RepositoryNotFoundError as error:
        known = [each for entry in CATALOGUE.values() for each in (entry.source, entry.adapter) if each]
        hint = closest(source, known, "check the spelling; if it is private, `hf auth login` first")
        raise NotFound(f"no model `{source}` on the Hub", hint=hint) from error
    except errors.RevisionNotFoundError as error:
        raise NotFound(f"`{source}` has no such revision", hint="give a commit, a tag or a branch") from error
    except errors.HFValidationError as error:
        raise NotFound(
            f"`{source}` is not the name of a model on the Hub", hint="it has the form OWNER/NAME"
        ) from error
    except Exception as error:
        if (failure := _hub_failure(source, error)) is None:
            raise
        raise failure from error
    finally:
        logging.set_verbosity(level)


def _hub_failure(source: str, error: Exception) -> CavError | None:
    """The error to show for a failure of the network or the disk; None for any other."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        hint = "try again later: complete files are not downloaded again"
        return RequirementError(f"the Hub answered {error.response.status_code} for `{source}`", hint=hint)
    if isinstance(error, errors.OfflineModeIsEnabled) or isinstance(error.__cause__, errors.OfflineModeIsEnabled):
        return RequirementError("the Hub is switched off: `HF_HUB_OFFLINE` is set", hint="unset it to download")
    if isinstance(error, OSError) and error.errno:
        return _no_space(error.strerror or str(error))
    if isinstance(error, errors.LocalEntryNotFoundError) or _is_of_the_network(error):
        hint = "check the connection and try again: complete files are not downloaded again"
        return RequirementError(f"cannot reach the Hub for `{source}`", hint=hint)
    if isinstance(error, OSError):  # fewer bytes than announced
        return IntegrityFailure(f"a file of `{source}` arrived incomplete", hint="try again")
    return None


def _is_of_the_network(error: Exception) -> bool:
    """Whether the HTTP client of `huggingface_hub` raised it; which client that is depends on its version."""
    return type(error).__module__.partition(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2"}
