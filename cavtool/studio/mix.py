"""Combine motions of the registry into one: a motion with parents."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool.core.adapters import lora
from cavtool.core.adapters.mix import combine, rank_of, truncate
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput
from cavtool.events import Note, OnEvent
from cavtool.recipes import Blend, MixRecipe
from cavtool.registry import Asset, Parent, Record, Registry
from cavtool.registry.record import WEIGHTS
from cavtool.studio.session import Motion, motion_of
from cavtool.studio.weights import save_weights
from cavtool.workspace import Workspace

RELATIVE_ERROR = "relative_error"  # the metric of a mix that has a lower rank than the exact one

Part = tuple[Record, Motion]


def mix(
    name: str,
    recipe: MixRecipe,
    *,
    replace: bool = False,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> Asset:
    """Save the weighted sum of motions as the motion `name`, which generates what they do together.

    The sum is exact unless the recipe asks for a lower rank, whose relative error is then a metric of the record. The
    base model is not needed. Raises Conflict for a taken name and NotFound for an unknown motion, both before any work;
    Incompatible for motions of different architectures or timesteps, InvalidInput for motions that cancel out.
    """
    workspace = workspace or Workspace(on_wait=lambda text: on_event(Note(text)))
    registry = workspace.registry
    registry.check_free(name, "motion", replace=replace)
    parts = [_read(registry, blend) for blend in recipe.motions]
    _check_compatible(parts, on_event)
    parents = _parents(parts)
    state = combine([(motion.state, motion.weight) for _, motion in parts])
    metrics: dict[str, float] = {}
    if recipe.rank is not None:
        state, metrics = _at_rank(state, recipe.rank, on_event)
    what_else = "`cav generate` with all of them and `--turns` may keep more of each"
    on_event(Note(f"mixed motions disturb each other; {what_else}"))
    draft = _draft(name, [record for record, _ in parts], parents, rank_of(state), metrics)
    with TemporaryDirectory() as folder:
        weights = Path(folder, WEIGHTS)
        save_weights(state, weights, draft)
        return registry.put(draft, {WEIGHTS: weights}, replace=replace)


def _read(registry: Registry, blend: Blend) -> Part:
    """The motion's record and weights. Raises NotFound, IntegrityFailure."""

    def use(asset: Asset) -> Part:
        motion = motion_of(asset, blend.weight)
        try:
            lora.pairs_of(motion.state)
        except IntegrityFailure as failure:
            raise IntegrityFailure(f"cannot use `{blend.name}` as a motion: {failure.message}") from failure
        return asset.record, motion

    return registry.read(blend.name, use, "motion")


def _check_compatible(parts: Sequence[Part], on_event: OnEvent) -> None:
    """Raise Incompatible if the motions cannot be one set of weights; a note if the base models' weights differ."""
    first, *others = (record for record, _ in parts)
    for record in others:
        if record.fingerprint != first.fingerprint:
            raise Incompatible(
                f"`{first.name}` was learned on `{first.base_model}`, `{record.name}` on `{record.base_model}`, "
                "which has another architecture",
                hint="mix motions of one base model",
            )
        if _noise_from(record) != _noise_from(first):
            raise Incompatible(
                f"`{first.name}` was learned with `--noise-from {_noise_from(first):g}`, `{record.name}` with "
                f"{_noise_from(record):g}: one set of weights cannot do both",
                hint=f"generate with all of them: `cav generate PROMPT {_as_options(parts)}`",
            )
    for record in others:
        if record.revision != first.revision:
            on_event(Note(f"`{first.name}` and `{record.name}` were learned on different weights of the base model"))


def _as_options(parts: Sequence[Part]) -> str:
    return " ".join(f"-m {record.name}:{motion.weight:g}" for record, motion in parts)


def _noise_from(record: Record) -> float:
    """The share of the timesteps from which on a motion is active; `motion_of` has checked that it is a number."""
    return float(record.recipe.get("noise_from", 0.0))


def _parents(parts: Sequence[Part]) -> tuple[Parent, ...]:
    """The motions that the mix is the sum of; equal ones are added up. Raises InvalidInput if nothing remains."""
    sums: dict[str, Parent] = {}
    for record, motion in parts:
        for leaf in _leaves(record, motion.weight):
            known = sums.get(leaf.content_id, dataclasses.replace(leaf, weight=0.0))
            sums[leaf.content_id] = dataclasses.replace(known, weight=known.weight + leaf.weight)
    parents = tuple(parent for parent in sums.values() if parent.weight)
    if not parents:
        raise InvalidInput("the motions cancel out: nothing would move", hint="change the weights")
    return parents


def _leaves(record: Record, weight: float) -> Iterator[Parent]:
    """The parents of an exact mix; any other motion itself, also a mix at a lower rank, which is not their sum."""
    if record.parents and RELATIVE_ERROR not in record.metrics:
        for parent in record.parents:
            yield dataclasses.replace(parent, weight=weight * parent.weight)
    else:
        yield Parent(name=record.name, content_id=record.content_id, weight=weight)


def _at_rank(state: lora.LoraState, rank: int, on_event: OnEvent) -> tuple[lora.LoraState, dict[str, float]]:
    """The mix at a lower rank and its metrics; unchanged if its rank is not higher."""
    exact = rank_of(state)
    if rank >= exact:
        on_event(Note(f"`--rank {rank}` changes nothing: the exact mix has rank {exact}"))
        return state, {}
    state, error = truncate(state, rank)
    kept = 100 * (1 - error**2)
    on_event(Note(f"rank {rank} of {exact} keeps {kept:.1f} % of the squared norm; relative error {error:.2g}"))
    return state, {RELATIVE_ERROR: error}


def _draft(
    name: str, records: Sequence[Record], parents: tuple[Parent, ...], rank: int, metrics: Mapping[str, float]
) -> Record:
    first, revisions = records[0], {record.revision for record in records}
    return Record(
        name=name,
        kind="motion",
        origin="mixed",
        base_model=first.base_model,
        fingerprint=first.fingerprint,
        revision=first.revision if len(revisions) == 1 else "",  # `cav generate` then warns, as for each of them
        prompt=" + ".join(dict.fromkeys(record.prompt for record in records)),
        appearance="",
        rank=rank,
        recipe={"noise_from": _noise_from(first)},
        metrics=metrics,
        parents=parents,
    )
