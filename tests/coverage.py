"""How often an interval holds the truth, and how wide it is, over simulated data whose truth is known.

Shared by the quick test of the essential cells (tests/formulas/test_interval_coverage.py) and by the whole table of
`make prove` (tests/prove/test_interval_coverage.py). A kind of interval is a function (generator, n, setting) ->
(estimate, truth); what data it draws is said where it is defined, and was before anything was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr

from tutelage.formulas import agreement, calibration, intervals, learning_curve, overoptimisation, ranking, win_rate
from tutelage.formulas.association import area_under_curve, rank_correlation
from tutelage.formulas.intervals import Estimate

COVERS, WIDEST = 0.93, 1.25  # of nominal 95 %; mean width over the reference's


class Cell(NamedTuple):
    """One setting of one kind. width: mean width over that of the reference; unknown: share without an interval."""

    coverage: float
    width: float
    unknown: float


@dataclass(frozen=True)
class Kind:
    """A kind of interval. draws: the simulated data in words; reference: what its width is compared with."""

    name: str
    draws: str
    draw: Callable[[np.random.Generator, int, float], tuple[Estimate, float]]
    sizes: tuple[int, ...]
    settings: tuple[float, ...]
    reference: Callable[[int, float, np.ndarray], np.ndarray] | None = None


def measured(kind: Kind, n: int, setting: float, sets: int = 1000, seed: int = 0) -> Cell:
    """Over `sets` simulated data sets. Without a reference of its own, widths are compared with 2 · 1.96 deviations of
    the estimates: the interval of somebody who knows the variance."""
    generator = np.random.default_rng([seed, n, round(1000 * abs(setting))])
    found = [kind.draw(generator, n, setting) for _ in range(sets)]
    known = [(each, truth) for each, truth in found if each.is_known]
    covered = [each.low <= truth <= each.high for each, truth in known]
    values = np.array([each.value for each, _ in known])
    widths = np.array([each.high - each.low for each, _ in known])
    finite = np.isfinite(widths) & np.isfinite(values)
    ideal = kind.reference(n, setting, values) if kind.reference else np.full(len(values), 3.92 * values[finite].std())
    ratio = float(widths[finite].mean() / ideal[finite].mean())
    return Cell(float(np.mean(covered)), ratio, 1 - len(known) / sets)


def exact_width(n: float, values: np.ndarray) -> np.ndarray:
    """Clopper and Pearson's of n trials at these shares."""
    rounded, place = np.unique(np.round(values, 6), return_inverse=True)
    ends = np.array([intervals.clopper_pearson(each * n, n) for each in rounded])
    return (ends[:, 1] - ends[:, 0])[place]


def share(generator: np.random.Generator, n: int, p: float) -> tuple[Estimate, float]:
    return intervals.share_of(float(generator.binomial(n, p)), n), p


def wins_and_ties(generator: np.random.Generator, n: int, p: float) -> tuple[Estimate, float]:
    ties = min(0.2, 2 * (1 - p))
    wins, tied, lost = generator.multinomial(n, [p - ties / 2, ties, 1 - p - ties / 2])
    return intervals.win_rate(int(wins), int(tied), int(lost)), p


def mean(generator: np.random.Generator, n: int, _: float) -> tuple[Estimate, float]:
    return intervals.mean_interval(generator.normal(3.0, 2.0, n)), 3.0


def grouped(generator: np.random.Generator, p: float, clusters: int, size: int, alike: float) -> np.ndarray:
    """[clusters, size] 0s and 1s, beta-binomial of mean p and intraclass correlation `alike`."""
    own = generator.beta(p * (1 / alike - 1), (1 - p) * (1 / alike - 1), (clusters, 1))
    return (generator.random((clusters, size)) < own).astype(np.float64)


SIZE, ALIKE = 3, 0.3


def clustered_share(generator: np.random.Generator, n: int, p: float) -> tuple[Estimate, float]:
    return intervals.share(grouped(generator, p, n, SIZE, ALIKE).ravel(), np.repeat(np.arange(n), SIZE)), p


def uneven_share(generator: np.random.Generator, n: int, p: float) -> tuple[Estimate, float]:
    names = np.repeat(np.arange(n), 1 + generator.poisson(3, n))
    own = generator.beta(p * (1 / ALIKE - 1), (1 - p) * (1 / ALIKE - 1), n)
    return intervals.share((generator.random(len(names)) < own[names]).astype(float), names), p


def clustered_mean(generator: np.random.Generator, n: int, alike: float) -> tuple[Estimate, float]:
    names = np.repeat(np.arange(n), 1 + generator.poisson(3, n))
    noise = np.sqrt(1 - alike) * generator.normal(size=len(names))
    return intervals.clustered(np.sqrt(alike) * generator.normal(size=n)[names] + noise, names), 0.0


def difference(generator: np.random.Generator, n: int, better: float) -> tuple[Estimate, float]:
    """A model right where the rule is wrong in `better` of the pairs, and the other way round in a tenth."""
    u = generator.random(n)
    values = np.where(u < better, 1.0, np.where(u < better + 0.1, -1.0, 0.0))
    return intervals.bounded_mean(values, None, -1.0, 1.0), better - 0.1


def area(generator: np.random.Generator, n: int, apart: float) -> tuple[Estimate, float]:
    names, good = np.repeat(np.arange(n), 4), generator.random(4 * n) < 0.5
    scores = apart * good + np.sqrt(0.4) * generator.normal(size=n)[names] + np.sqrt(0.6) * generator.normal(size=4 * n)
    rarer = min(len(np.unique(names[good])), len(np.unique(names[~good])))
    found = intervals.jackknife(lambda rows: area_under_curve(scores[rows], good[rows]), names, (0.0, 1.0), rarer)
    return found, float(ndtr(apart / np.sqrt(2)))


def correlation(generator: np.random.Generator, n: int, rho: float) -> tuple[Estimate, float]:
    first = generator.normal(size=2 * n)
    second = rho * first + np.sqrt(1 - rho**2) * generator.normal(size=2 * n)
    names = np.repeat(np.arange(n), 2)
    found = intervals.jackknife(lambda rows: rank_correlation(first[rows], second[rows]), names, (-1.0, 1.0))
    return found, float(6 / np.pi * np.arcsin(rho / 2))


def alpha(generator: np.random.Generator, n: int, right: float) -> tuple[Estimate, float]:
    truth = generator.random((n, 1)) < 0.5
    says = np.where(generator.random((n, 2)) < right, truth, ~truth).astype(np.float64)
    found = intervals.jackknife(lambda rows: agreement.krippendorff_alpha(says[rows]), np.arange(n), (-1.0, 1.0))
    return found, (2 * right - 1) ** 2


def temperature(generator: np.random.Generator, n: int, sharp: float) -> tuple[Estimate, float]:
    """Four pairs a prompt, whose luck is shared (latent correlation ½); scores twice too sure of themselves."""
    names = np.repeat(np.arange(n), 4)
    latent = np.sqrt(0.5) * generator.normal(size=n)[names] + np.sqrt(0.5) * generator.normal(size=4 * n)
    truth = sharp * np.abs(generator.normal(size=4 * n))
    right = (ndtr(latent) < expit(truth)).astype(np.float64)
    return calibration.temperature(2 * truth, right, clusters_N=names), 2.0


def equally_long(generator: np.random.Generator, n: int, p: float) -> tuple[Estimate, float]:
    """Three pairs a prompt that share their luck with probability ½; log-odds that rise by 1 with the length term."""
    names = np.repeat(np.arange(n), 3)
    terms = win_rate.length_term(generator.lognormal(5.4, 0.5, 3 * n), generator.lognormal(5.0, 0.5, 3 * n))
    common, own = generator.random(n)[names], generator.random(3 * n)
    luck = np.where(generator.random(3 * n) < np.sqrt(0.5), common, own)
    outcomes = (luck < expit(np.log(p / (1 - p)) + terms)).astype(np.float64)
    return win_rate.length_controlled(outcomes, terms, clusters_N=names), p


def elo(generator: np.random.Generator, n: int, p: float) -> tuple[Estimate, float]:
    better = generator.random(n) < p
    found = ranking.elo(np.stack([~better, better], axis=1).astype(np.float64))[1]
    return found, 400 * float(np.log10(p / (1 - p)))


def gain(generator: np.random.Generator, n: int, exponent: float) -> tuple[Estimate, float]:
    """n models at four label counts, accuracies on a curve with this exponent and normal noise of 0.01."""
    counts = np.resize([500.0, 1000.0, 2000.0, 4000.0], n)
    truth = learning_curve.Curve(1000.0, 0.65, 0.05, exponent)
    values = learning_curve.at(truth, counts) + 0.01 * generator.normal(size=n)
    more = learning_curve.at(truth, np.array([4000.0, 5000.0]))
    return learning_curve.expected_gain(counts, values, 1000), float(more[1] - more[0])


def fitted_alpha(generator: np.random.Generator, n: int, own: float) -> tuple[Estimate, float]:
    """n runs of ten points whose α differ by N(0, own), and noise of 0.05."""
    distances = np.tile(np.linspace(0.3, 3.0, 10), n)
    runs = np.repeat(np.arange(n), 10)
    alphas = 1.0 + own * generator.normal(size=n)[runs]
    gold = overoptimisation.reinforcement_form(distances, 0.0, 0.4) + alphas * distances
    gold = gold + 0.05 * generator.normal(size=len(gold))
    found = overoptimisation.fit_reinforcement(distances, gold, runs_N=runs)
    return Estimate(found.alpha, found.alpha_low, found.alpha_high, found.n), 1.0


def of_effective_size(n: int, p: float, values: np.ndarray) -> np.ndarray:
    return exact_width(SIZE * n / (1 + (SIZE - 1) * ALIKE), values)


def students(n: int, _: float, values: np.ndarray) -> np.ndarray:
    from scipy.special import stdtrit

    return np.full(len(values), 2 * float(stdtrit(n - 1, 0.975)) * values.std())


COUNTS, CLUSTERS, SHARES = (5, 10, 20, 50, 200), (10, 20, 50, 200), (0.5, 0.9, 0.95)
KINDS = (
    Kind(
        "share",
        "n independent 0s and 1s of mean p",
        share,
        COUNTS,
        SHARES,
        lambda n, p, values: exact_width(n, values),
    ),
    Kind(
        "win rate with ties",
        "n comparisons, a fifth (at p = 0.95 a tenth) ties, rate p",
        wins_and_ties,
        COUNTS,
        SHARES,
        lambda n, p, values: exact_width(n, values),
    ),
    Kind("mean", "n normal values", mean, (3, *COUNTS), (0.0,), students),
    Kind(
        "clustered share",
        "n clusters of 3, beta-binomial of mean p, intraclass correlation 0.3",
        clustered_share,
        (5, *CLUSTERS),
        SHARES,
        of_effective_size,
    ),
    Kind(
        "share, uneven clusters",
        "the same in clusters of 1 + Poisson(3)",
        uneven_share,
        (5, *CLUSTERS),
        SHARES,
    ),
    Kind(
        "clustered mean",
        "n clusters of 1 + Poisson(3) normal values, intraclass correlation s",
        clustered_mean,
        (5, *CLUSTERS),
        (0.0, 0.3),
        students,
    ),
    Kind("difference of outcomes", "n pairs, +1 in s of them, −1 in a tenth, else 0", difference, COUNTS, (0.1, 0.3)),
    Kind("area under the curve", "n groups of 4, normal scores s apart, correlation 0.4", area, CLUSTERS, (0.7, 1.8)),
    Kind("rank correlation", "n prompts of 2, normal scores of correlation s", correlation, CLUSTERS, (0.5, 0.9)),
    Kind("alpha", "two people, n questions, each right in s of them", alpha, CLUSTERS, (0.8, 0.95)),
    Kind("temperature", "n prompts of 4 that share their luck, log-odds of deviation s", temperature, CLUSTERS, (1, 3)),
    Kind(
        "equally long", "n prompts of 3 that share their luck, rate p at equal length", equally_long, CLUSTERS, SHARES
    ),
    Kind("Elo of two", "n tasks, the second one better in p of them", elo, (10, 20), SHARES),
    Kind("expected gain", "n models at four counts, exponent s, noise 0.01", gain, (8, 16), (0.0, 0.5)),
    Kind("fitted α", "n runs of 10 points, α differing by deviation s", fitted_alpha, (5, 10, 20), (0.0, 0.2)),
)


def by_name(name: str) -> Kind:
    return next(each for each in KINDS if each.name == name)
