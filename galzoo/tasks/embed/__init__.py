"""Embed: a map of galaxies that a model finds alike, and what its codes stand for."""

from galzoo.lazy import publish
from galzoo.registry import Task

TASK = Task(
    name="embed",
    title="Map galaxies by what a model finds alike, and show what its codes stand for",
    roles={
        "model": "galzoo.contracts.codec:Codec",
        "prior": "galzoo.contracts.prior:Prior",
        "encoder": "galzoo.contracts.encoder:Encoder",
    },
    run="galzoo.tasks.embed.run:embed",
    command="galzoo.tasks.embed.command:embed",
    help="Map stamps by what a model finds alike, and show what its codes stand for.",
    next="galzoo embed {preset} {data}",
)

__getattr__, __dir__ = publish(
    __name__,
    {
        "embed": "galzoo.tasks.embed.run",
        "features": "galzoo.inference.stamp_features",
        "write_embedding": "galzoo.tasks.embed.run",
        "code_usage": "galzoo.tasks.embed.latent_scores",
        "scores": "galzoo.tasks.embed.latent_scores",
    },
)
