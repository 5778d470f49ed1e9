"""Steps of optimizers by optax in float64: python tools/goldens/optax_steps.py packages/train/test/data/optimizers.json

Four steps of each rule from the same parameters with the same gradients; what the parameters are after every step.
"""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import _muon

jax.config.update("jax_enable_x64", True)

RATE = 0.05
SHAPES = {"wide": (5, 7), "tall": (9, 4), "vector": (6,), "stack": (2, 3, 4)}
rng = np.random.default_rng(20261128)
parameters = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
gradients = [{name: rng.standard_normal(shape) * 0.3 for name, shape in SHAPES.items()} for _ in range(4)]


def decayed(rule, decay):
    return optax.chain(rule, optax.add_decayed_weights(decay), optax.scale(-RATE))


def muon(momentum, decay):
    """Jordan's rule; only the iteration is optax's, whose momentum has a bias correction."""

    def update(updates, state, params):
        state = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, state, updates)
        ahead = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, state, updates)
        coefficients = jnp.asarray([3.4445, -4.775, 2.0315])
        orthogonal = lambda x: _muon.orthogonalize_via_newton_schulz(x, coefficients) * max(1, x.shape[0] / x.shape[1]) ** 0.5
        return jax.tree.map(lambda x, p: -RATE * (orthogonal(x) + decay * p), ahead, params), state

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


factored = optax.chain(optax.scale_by_factored_rms(min_dim_size_to_factor=1), optax.clip_by_block_rms(1.0))
RULES = {
    "adamw": optax.adamw(RATE, b1=0.9, b2=0.99, eps=1e-6, weight_decay=0.1),
    "sgd": decayed(optax.identity(), 0.0),
    "sgd with momentum": decayed(optax.trace(0.9), 0.1),
    "sgd with nesterov": decayed(optax.trace(0.9, nesterov=True), 0.1),
    "adafactor": decayed(factored, 0.1),
    "muon": muon(0.95, 0.1),
    "adamw, clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(RATE, b1=0.9, b2=0.99, eps=1e-6, weight_decay=0.0)),
}

lists = lambda tree: {name: np.asarray(value).ravel().tolist() for name, value in tree.items()}
results = {}
for name, rule in RULES.items():
    chosen = [key for key in SHAPES if name != "muon" or len(SHAPES[key]) == 2]
    if name == "adafactor":
        # optax factors the two largest axes of a stack, we factor the last two.
        chosen.remove("stack")
    moved = {key: jnp.asarray(parameters[key]) for key in chosen}
    state = rule.init(moved)
    results[name] = []
    for step in gradients:
        updates, state = rule.update({key: jnp.asarray(step[key]) for key in chosen}, state, moved)
        moved = optax.apply_updates(moved, updates)
        results[name].append(lists(moved))
golden = {"shapes": SHAPES, "rate": RATE, "parameters": lists(parameters), "gradients": [lists(step) for step in gradients], "steps": results}
pathlib.Path(sys.argv[1]).write_text(json.dumps(golden) + "\n")
print(", ".join(RULES), "by optax", optax.__version__, "and jax", jax.__version__)
