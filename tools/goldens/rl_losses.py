"""Losses of reinforcement learning in float64: python tools/goldens/rl_losses.py packages/rl/test/data/rl-losses.json

Everything is written from the papers, sequence by sequence and token by token; gradients are central differences. What a
paper stops the gradient of is computed from a second copy of the logits that does not move.
"""

import json
import math
import pathlib
import sys

import numpy as np

B, T, V = 6, 5, 5
LENGTHS = [5, 3, 4, 2, 1, 5]
STARTS = [0, 1, 0, 2, 4, 0]
MAX_TOKENS = 8
rng = np.random.default_rng(20261129)


def log_softmax(x):
    shifted = x - x.max()
    return shifted - math.log(np.exp(shifted).sum())


logits = rng.standard_normal((B, T, V)).astype(np.float32).astype(np.float64)
targets = rng.integers(0, V, (B, T))
tokens = [[(b, t) for t in range(STARTS[b], STARTS[b] + LENGTHS[b])] for b in range(B)]


def logprobs_of(x):
    return [[log_softmax(x[at])[targets[at]] for at in sequence] for sequence in tokens]


def rounded(x):
    return [[float(np.float32(value)) for value in sequence] for sequence in x]


def moved(amounts):
    return rounded([[p + d for p, d in zip(*pair)] for pair in zip(logprobs_of(logits), amounts)])


# Old log-probabilities: ratios far below and above every clip with advantages of both signs, and one sequence that barely
# moved.
shift = [list(rng.normal(0, 0.15, n)) for n in LENGTHS]
shift[0] = [1.0, -1.0, 0.1, -1.9, 1.8]
shift[1] = [-1.4, 1.2, 0.02]
shift[3] = [2e-4, -1e-4]
shift[4] = [-1.7]
old = moved(shift)
reference = moved([list(rng.normal(0, 0.5, n)) for n in LENGTHS])
# One advantage for a sequence, as all but reward-to-go have it.
advantages = [float(np.float32(a)) for a in (1.25, -0.75, 0.5, 2.0, -1.5, 0.0)]
correction = rounded([list(rng.uniform(0, 2, n)) for n in LENGTHS])
correction[2] = [0.0] * LENGTHS[2]


def clip(x, low, high):
    return min(max(x, low), high)


def clipped(ratio, advantage, low, high, dual=None):
    gain = min(ratio * advantage, clip(ratio, 1 - low, 1 + high) * advantage)
    if dual is not None and advantage < 0:
        gain = max(gain, dual * advantage)
    return -gain


def token_ratio_loss(low, high, dual=None):
    return lambda p, still, i, t: clipped(math.exp(p[i][t] - old[i][t]), advantages[i], low, high, dual)


def policy_gradient(p, still, i, t):
    return -advantages[i] * p[i][t]


def cispo(low, high):
    return lambda p, still, i, t: -clip(math.exp(still[i][t] - old[i][t]), 1 - low, 1 + high) * advantages[i] * p[i][t]


def gspo(low, high):
    """The sequence form; every token of the sequence is given its value, so that the mean over them is that value."""

    def loss(p, still, i, t):
        ratio = math.exp(sum(a - b for a, b in zip(p[i], old[i])) / LENGTHS[i])
        return clipped(ratio, advantages[i], low, high)

    return loss


KL = {
    "k1": lambda p, ref: p - ref,
    "k2": lambda p, ref: (p - ref) ** 2 / 2,
    "k3": lambda p, ref: math.exp(ref - p) - (ref - p) - 1,
}


def weight(aggregation, i, constant):
    n = len(LENGTHS)
    return {
        "token-mean": 1 / sum(LENGTHS),
        "sequence-mean": 1 / n / LENGTHS[i],
        "sequence-sum": 1 / n,
        "constant": 1 / n / constant,
    }[aggregation]


def total(x, still_logits, term, aggregation, constant=MAX_TOKENS, kl=None, beta=0.0, entropy=0.0, corrected=True):
    p, still = logprobs_of(x), logprobs_of(still_logits)
    loss = 0.0
    for i, sequence in enumerate(tokens):
        for t, at in enumerate(sequence):
            value = term(p, still, i, t) * (correction[i][t] if corrected else 1)
            if kl is not None:
                value += beta * KL[kl](p[i][t], reference[i][t])
            all_logprobs = log_softmax(x[at])
            value += entropy * float((np.exp(all_logprobs) * all_logprobs).sum())
            loss += weight(aggregation, i, constant) * value
    return loss


def gradient(of):
    out = np.zeros_like(logits)
    step = 1e-5
    for at in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[at] += step
        down[at] -= step
        out[at] = (of(up) - of(down)) / (2 * step)
    return out


OBJECTIVES = [
    ({"name": "grpo"}, dict(term=token_ratio_loss(0.2, 0.2), aggregation="sequence-mean")),
    (
        {"name": "grpo", "clip_low": 0.1, "clip_high": 0.3, "dual_clip": 3, "aggregation": "token-mean"},
        dict(term=token_ratio_loss(0.1, 0.3, 3), aggregation="token-mean"),
    ),
    ({"name": "dapo"}, dict(term=token_ratio_loss(0.2, 0.28), aggregation="token-mean")),
    ({"name": "dr-grpo"}, dict(term=token_ratio_loss(0.2, 0.2), aggregation="constant")),
    (
        {"name": "dr-grpo", "constant_length": 100},
        dict(term=token_ratio_loss(0.2, 0.2), aggregation="constant", constant=100),
    ),
    ({"name": "ppo"}, dict(term=token_ratio_loss(0.2, 0.2), aggregation="token-mean")),
    ({"name": "rloo"}, dict(term=policy_gradient, aggregation="sequence-sum")),
    ({"name": "reinforce"}, dict(term=policy_gradient, aggregation="sequence-sum")),
    # Corrections within a sequence have no sequence form; they are tested by the other algorithms.
    ({"name": "gspo"}, dict(term=gspo(3e-4, 4e-4), aggregation="sequence-mean", corrected=False)),
    (
        {"name": "gspo", "clip_low": 0.2, "clip_high": 0.2},
        dict(term=gspo(0.2, 0.2), aggregation="sequence-mean", corrected=False),
    ),
    ({"name": "cispo"}, dict(term=cispo(1, 4), aggregation="token-mean")),
    ({"name": "cispo", "clip_low": 0.2, "clip_high": 0.3}, dict(term=cispo(0.2, 0.3), aggregation="token-mean")),
]
for estimator in KL:
    OBJECTIVES.append(
        (
            {"name": "grpo", "kl_coefficient": 0.25, "kl_estimator": estimator},
            dict(term=token_ratio_loss(0.2, 0.2), aggregation="sequence-mean", kl=estimator, beta=0.25),
        )
    )
OBJECTIVES.append(
    (
        {"name": "reinforce", "entropy_coefficient": 0.125},
        dict(term=policy_gradient, aggregation="sequence-sum", entropy=0.125),
    )
)
OBJECTIVES.append(
    (
        {"name": "cispo", "kl_coefficient": 0.5, "entropy_coefficient": 0.25},
        dict(term=cispo(1, 4), aggregation="token-mean", kl="k3", beta=0.5, entropy=0.25),
    )
)


def objective_case(config, how):
    of = lambda x: total(x, logits, **how)
    return {
        "config": config,
        "corrected": how.get("corrected", True),
        "loss": of(logits),
        "gradient": gradient(of).ravel().tolist(),
    }


# Advantages.
GROUPS = [[1, 0, 0, 1], [0.1, 0.1, 0.1], [0.25, -1.5, 3], [1, 0], [5], [0, 0, 0, 0, 1]]


def leave_one_out(rewards):
    return [float(np.mean(rewards[:i] + rewards[i + 1 :])) for i in range(len(rewards))]


def group_relative(rewards, baseline, std, eps):
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    base = leave_one_out(rewards) if baseline == "leave-one-out" else [float(np.mean(rewards))] * len(rewards)
    scale = 1.0 if std == "none" else float(np.std(rewards, ddof=1 if std == "sample" else 0)) + eps
    return [(r - b) / scale for r, b in zip(rewards, base)]


GROUP_OPTIONS = [
    {"baseline": baseline, "std": std, "eps": eps}
    for baseline, std, eps in [
        ("mean", "sample", 1e-6),
        ("mean", "population", 0.1),
        ("mean", "none", 0),
        ("leave-one-out", "none", 0),
        ("leave-one-out", "sample", 0),
    ]
]

# Generation and training.
ratios = [list(rng.normal(0, 0.4, 7)), [0.0] * 4, list(rng.normal(0, 5e-4, 6))]
ratios += [[1.0, -1.0, 0.2], [1.9, 1.4], [-0.9, -0.1]]
generation = [[float(np.float32(-abs(v))) for v in rng.normal(1, 1, len(r))] for r in ratios]
training = rounded([[g + d for g, d in zip(*pair)] for pair in zip(generation, ratios)])
exact = [[p - g for p, g in zip(*pair)] for pair in zip(training, generation)]


def corrected(config, d):
    name, level = config["name"], config.get("level")
    each = [math.exp(x) for x in d]
    geometric = math.prod(each) ** (1 / len(d))
    if name == "none":
        return [1.0] * len(d)
    if name == "tis" and level == "sequence":
        return [min(math.prod(each), config.get("limit", 2))] * len(d)
    if name == "tis":
        return [min(r, config.get("limit", 2)) for r in each]
    if name == "icepop":
        return [r if 0.5 <= r <= 5 else 0.0 for r in each]
    if name == "sequence-mask":
        low, high = (0.5, 5) if level == "any-token" else (0.999, 1.002)
        low, high = config.get("low", low), config.get("high", high)
        stays = all(low <= r <= high for r in (each if level == "any-token" else [geometric]))
        return ([1.0] * len(d) if config.get("weight") != "ratio" else each) if stays else [0.0] * len(d)
    if name == "sequence-error":
        return [float(sum(math.exp(abs(x)) for x in d) / len(d) <= config.get("threshold", 1.05))] * len(d)
    raise ValueError(name)


CORRECTIONS = [
    {"name": "none"},
    {"name": "tis"},
    {"name": "tis", "level": "sequence", "limit": 1.5},
    {"name": "icepop"},
    {"name": "sequence-mask"},
    {"name": "sequence-mask", "level": "geometric", "low": 0.5, "high": 2, "weight": "ratio"},
    {"name": "sequence-mask", "level": "any-token"},
    {"name": "sequence-error"},
    {"name": "sequence-error", "threshold": 1.6},
]


def mismatch():
    pairs = [(p, g) for sequence in zip(training, generation) for p, g in zip(*sequence)]
    mean = lambda f: math.fsum(f(p, g) for p, g in pairs) / len(pairs)
    k3 = lambda d: math.exp(d) - 1 - d
    mixture = lambda p, g: math.log(0.5 * math.exp(p) + 0.5 * math.exp(g))
    return {
        "tokens": len(pairs),
        "token_mult_prob_error": mean(lambda p, g: math.exp(abs(g - p))),
        "gen_kl_error": mean(lambda p, g: k3(p - g)),
        "policy_kl_error": mean(lambda p, g: k3(g - p)),
        "js_divergence_error": mean(lambda p, g: 0.5 * k3(p - mixture(p, g)) + 0.5 * k3(g - mixture(p, g))),
        "sampling_importance_ratio": mean(lambda p, g: math.exp(p - g)),
        "mismatched_tokens": sum(p != g for p, g in pairs),
        "max_abs_logprob_diff": max(abs(p - g) for p, g in pairs),
    }


def policy_statistics(level, low, high, by_sign):
    new = rounded(logprobs_of(logits))
    d = [[a - b for a, b in zip(*pair)] for pair in zip(new, old)]
    mean_of = lambda x: sum(x) / len(x)
    ratio = [[math.exp(mean_of(s))] * len(s) if level == "sequence" else [math.exp(x) for x in s] for s in d]
    flat = [(r, advantages[i]) for i, s in enumerate(ratio) for r in s]
    return {
        "clip": {"ratio": level, "low": low, "high": high, "bySign": by_sign},
        "statistics": {
            "tokens": len(flat),
            "clip_fraction_low": mean_of([r < 1 - low and (a < 0 or not by_sign) for r, a in flat]),
            "clip_fraction_high": mean_of([r > 1 + high and (a > 0 or not by_sign) for r, a in flat]),
            "approx_kl": mean_of([math.exp(x) - 1 - x for s in d for x in s]),
            "mean_ratio": mean_of([r for r, _ in flat]),
            "entropy": mean_of([-x for s in new for x in s]),
        },
    }


golden = {
    "shape": [B, T, V],
    "starts": STARTS,
    "lengths": LENGTHS,
    "max_tokens": MAX_TOKENS,
    "logits": logits.ravel().tolist(),
    "targets": targets.ravel().tolist(),
    "logprobs": rounded(logprobs_of(logits)),
    "old_logprobs": old,
    "reference_logprobs": reference,
    "advantages": advantages,
    "correction": correction,
    "objectives": [objective_case(*case) for case in OBJECTIVES],
    "rewards": GROUPS,
    "group_relative": [{"options": o, "advantages": [group_relative(g, **o) for g in GROUPS]} for o in GROUP_OPTIONS],
    "generation": generation,
    "training": training,
    "corrections": [{"config": c, "weights": [corrected(c, d) for d in exact]} for c in CORRECTIONS],
    "mismatch": mismatch(),
    "policy_statistics": [
        policy_statistics("token", 0.2, 0.28, True),
        policy_statistics("token", 0.2, 0.28, False),
        policy_statistics("sequence", 3e-4, 4e-4, True),
    ],
}
pathlib.Path(sys.argv[1]).write_text(json.dumps(golden) + "\n")
print(len(OBJECTIVES), "objectives,", len(CORRECTIONS), "corrections; numpy", np.__version__)
