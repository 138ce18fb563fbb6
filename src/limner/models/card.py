"""The card: what a model is, from what, and under which conditions, in plain words for a person."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from limner.core.catalog import Head

if TYPE_CHECKING:
    from limner.data.dataset import Manifest


def card(head: Head, data: "Manifest", training: Mapping[str, Any]) -> str:
    """A model card in Markdown.

    head      what the method says of itself
    data      what it learned from
    training  steps, images, seconds, seed, precision, machine, whether the weights are averaged, and the score of the
              best model
    """
    machine = training["machine"]
    lines = [
        f"# {head.name} trained on {data.name}",
        head.summary,
        "",
        f"- learned from: {data.describe()}; source: {data.source}",
        *([f"- learned from one part of them alone: {training['shard']}"] if "shard" in training else []),
        *([f"- set aside, and not learned from: {training['set_aside']:,} of them"] if "set_aside" in training else []),
        f"- licence of the data: {data.licence or 'not stated'}",
        f"- attribution: {data.attribution or 'not stated'}",
        f"- training: {training['steps']:,} steps, {training['images']:,} images, {training['seconds']:,.0f} s "
        f"({computer(machine)}, {training['precision']}, torch {machine['torch']}), seed {training['seed']}",
        *([f"- began from: the model with SHA-256 {training['init']}"] if "init" in training else []),
        *([f"- learned from measured pictures: {training['measure']}"] if "measure" in training else []),
        f"- weights: {_weights(training)}",
        "- limits: it makes pictures like those it learned from, with their biases, and nothing else",
    ]
    return "\n".join(lines) + "\n"


def computer(machine: Mapping[str, Any]) -> str:
    """What computed: the GPU, or how many threads of which system."""
    cores = machine.get("cores")
    return str(machine.get("gpu") or f"{cores} thread{'s' * (cores != 1)}, {machine.get('system')}")


def _weights(training: Mapping[str, Any]) -> str:
    kind = "the moving average" if training["averaged"] else "as they stood"
    if "score" in training:
        return f"{kind} at step {training['steps']:,}, the best of its evaluations (score {training['score']:.4g})"
    return f"{kind} at the end of training"
