"""What can go wrong in a run, each as a small registered class: its name, what it means, what to do about it.

A watch sees every step and says whether its sign is there; `Monitor` turns signs into warnings that are raised once
and are over when the sign is. A warning that is on stays on down to a lower bar than the one that raised it. All
windows are bounded, so memory does not grow with the run. Knows no file and no model.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from engine.config import Config, ModelConfig
from trainer import adversary
from trainer.loop import Step
from trainer.monitor.figures import Weighed, rates
from trainer.trends import Trend, higher, trend


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the bars lie. A window is a fiftieth of the run within its limits."""

    shortest: int = 16  # steps in a window
    longest: int = 200
    chance: float = 1e-6  # p below which one window lies above another; it is asked at every step
    lost: float = 0.5  # share of what a run has gained that a divergence loses
    risen: float = 0.25  # rise of the objective, as a share of itself, that counts as one where little was gained
    silent: float = 0.01  # nats a latent dimension below which it says nothing
    quiet: float = 0.1  # and below which it says nothing to speak of, if it once said
    fallen: float = 0.05  # this share of it or more
    active: float = 0.05  # share of active dimensions below which a level says nothing
    settled: float = 0.25  # share of the run after which a level that says nothing will not begin to
    sure: float = 0.95  # accuracy of the critic that its bound must exceed to have won
    shaken: float = 0.9  # accuracy below which it has not
    steeper: float = 10.0  # how many times its usual length a gradient is when it explodes
    slower: float = 4.0  # how many times longer steps take when the pace has dropped
    patience: float = 60.0  # seconds that must last
    measurements: int = 8  # last ones that count for a plateau and for overfitting
    few: int = 6  # and at least
    gain: float = 0.02  # share of the loss; where it may not even have gained so much over them, that is a plateau
    trifle: float = 0.002  # share of the loss that is no gain even where it is sure
    doubt: float = 0.05  # p of a trend over them


@dataclass(frozen=True, slots=True)
class Alert:
    """A warning, as data and in words."""

    name: str
    n: int  # step it was raised at
    since: int  # first step of what shows it
    means: str
    evidence: str
    do: str

    def sentence(self) -> str:
        """What it means, what shows it, what to do."""
        return f"Warning ({self.name.replace('_', ' ')}): {self.means} {self.evidence} {self.do}"

    def plain(self) -> dict[str, Any]:
        """Ready for JSON and for another process."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sign:
    """What a watch sees: words for it, and the first step that shows it."""

    evidence: str
    since: int


class Watch(Protocol):
    """Sees every step of a run in order."""

    def see(self, step: Step, on: bool) -> Sign | None:
        """The sign if it is there, by the lower bar while the warning is `on`."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """What a watch may know of the run it watches."""

    config: Config
    steps: int
    limits: Limits = Limits()

    @property
    def window(self) -> int:
        """Steps in a window."""
        return min(max(self.steps // 50, self.limits.shortest), self.limits.longest)


@dataclass(frozen=True, slots=True)
class Kind:
    """A registered watch."""

    name: str
    means: str
    do: str
    make: Callable[[Run], Watch]


WATCHES: dict[str, Kind] = {}


def watch(name: str, means: str, do: str) -> Callable[[type], type]:
    """Register a class made from a `Run`."""

    def add(made: type) -> type:
        WATCHES[name] = Kind(name, means, do, made)
        return made

    return add


class Monitor:
    """All watches over one run. `active` holds the warnings that are on, by name."""

    def __init__(self, config: Config, steps: int, limits: Limits | None = None) -> None:
        run = Run(config, steps, limits or Limits())
        self.watches = {name: kind.make(run) for name, kind in WATCHES.items()}
        self.active: dict[str, Alert] = {}

    def see(self, step: Step) -> tuple[list[Alert], list[Alert]]:
        """The warnings this step raised, and those it ended."""
        raised, over = [], []
        for name, one in self.watches.items():
            sign = one.see(step, name in self.active)
            if sign is not None and name not in self.active:
                kind = WATCHES[name]
                self.active[name] = Alert(name, step.n, sign.since, kind.means, sign.evidence, kind.do)
                raised.append(self.active[name])
            elif sign is None and name in self.active:
                over.append(self.active.pop(name))
        return raised, over


# ---------------------------------------------------------------- windows


class Values:
    """The last values of a series with their steps."""

    def __init__(self, width: int) -> None:
        self.values: deque[float] = deque(maxlen=width)
        self.steps: deque[int] = deque(maxlen=width)

    def add(self, n: int, value: float) -> None:
        """Take a value; what is no number is left to the watch for that."""
        if math.isfinite(value):
            self.values.append(value)
            self.steps.append(n)

    @property
    def full(self) -> bool:
        """Whether the window is whole."""
        return len(self.values) == self.values.maxlen

    @property
    def middle(self) -> float:
        """The median."""
        return statistics.median(self.values)


class Descent:
    """A series that should fall: its last window against the best one, four times as long, there has been."""

    def __init__(self, run: Run) -> None:
        self.limits = run.limits
        self.recent, self.long = Values(run.window), Values(4 * run.window)
        self.best: tuple[float, ...] = ()
        self.lowest = math.inf  # median of `best`
        self.first = math.inf  # before there was any training to speak of
        self.seen = 0

    def add(self, n: int, value: float) -> None:
        """Take a value."""
        if not math.isfinite(value):
            return
        self.seen += 1
        if self.seen <= 3:
            self.first = min(self.first, value)
        self.recent.add(n, value)
        self.long.add(n, value)
        if self.seen >= 8 and self.long.middle < self.lowest:
            self.best, self.lowest = tuple(self.long.values), self.long.middle

    def rise(self, on: bool) -> float | None:
        """How far the last window lies above the best, if that is far and no chance."""
        if not self.recent.full or not self.best:
            return None
        now, share = self.recent.middle, 0.5 if on else 1.0
        rise = now - self.lowest
        least = max(self.limits.lost * (self.first - self.lowest), self.limits.risen * abs(self.lowest))
        worse_than_untrained = now > 5 * self.first > 0
        if not (rise > share * least or worse_than_untrained):
            return None
        chance = higher(self.recent.values, self.best)
        return rise if chance < self.limits.chance or worse_than_untrained else None


# ---------------------------------------------------------------- the watches


@watch(
    "not_a_number",
    "Losses or gradients stopped being numbers.",
    "The step is not taken; if it comes back lower train.lr, or compute in 32 bits instead of 16.",
)
class NotANumber:
    """A loss, a gradient or a measurement that is not finite; over after a window without one."""

    def __init__(self, run: Run) -> None:
        self.calm = run.limits.shortest
        self.last = 0
        self.sign = Sign("", 0)

    def see(self, step: Step, on: bool) -> Sign | None:
        """At once."""
        values = {**step.train, **rates(step), **(step.held_out or {})}
        bad = [name for name, value in values.items() if value is None or not math.isfinite(value)]
        if bad:
            self.last = step.n
            self.sign = Sign(f"At step {step.n}: {', '.join(bad[:4])}{' and more' if len(bad) > 4 else ''}.", step.n)
        return self.sign if bad or (on and step.n - self.last < self.calm) else None


@watch(
    "divergence",
    "The loss is rising: the run is losing what it had learnt.",
    "Stop it and go on from the best checkpoint with a lower train.lr (a third), or with a longer train.lr_warmup.",
)
class Divergence:
    """The objective at its full weights and the likelihood in it, both far above their best windows.

    Either alone may rise in a healthy run: the likelihood while divergences gain weight, the whole before they do.
    """

    def __init__(self, run: Run) -> None:
        self.weighed = Weighed(run.config)
        self.whole, self.likelihood = Descent(run), Descent(run)

    def see(self, step: Step, on: bool) -> Sign | None:
        """At every step with losses."""
        self.whole.add(step.n, self.weighed.whole(step.train))
        self.likelihood.add(step.n, self.weighed.likelihood(step.train))
        rise = self.whole.rise(on)
        if rise is None or self.likelihood.rise(on) is None:
            return None
        lowest = self.whole.lowest
        words = f"The objective is {rise + lowest:.4g}; at its best it was {lowest:.4g}."
        return Sign(words, self.whole.recent.steps[0])


def _rows(config: Config) -> Mapping[str, tuple[int, float, float]]:
    """Level -> its dimensions, bars a latent of it stands for, and its free bits."""
    m: ModelConfig = config.model
    levels = {"fine": (m.latent_dim, 1.0, config.loss.free_bits_fine)}
    if m.use_hierarchical:
        bars = float(config.train.window_bars)
        levels |= {"local": (m.local_dim, 4.0, config.loss.free_bits)}
        levels |= {"global": (m.global_dim, bars, config.loss.free_bits)}
    return levels


@watch(
    "posterior_collapse",
    "Latents stopped carrying music (posterior collapse): the decoder does without them, and sliders would do nothing.",
    "Lower loss.beta or the loss.weights of kl_fine, kl_local, kl_global, lengthen loss.kl_warmup, "
    "or raise loss.free_bits and loss.free_bits_fine.",
)
class PosteriorCollapse:
    """A level whose divergence falls to nothing, or whose posterior means hardly vary from bar to bar.

    A level held up by free bits has no divergence to fall, so only its active dimensions can tell: they come with a
    step as facts["activity"] = {level: share}.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.levels = run, _rows(run.config)
        free = [name for name, (_, _, bits) in self.levels.items() if not bits]
        self.recent = {name: Values(run.window) for name in free}
        self.peak = dict.fromkeys(free, 0.0)
        self.activity: dict[str, float] = {}

    def see(self, step: Step, on: bool) -> Sign | None:
        """At every step."""
        limits, late = self.run.limits, step.n >= self.run.limits.settled * self.run.steps
        share = 2.0 if on else 1.0
        self.activity.update(step.facts.get("activity", {}))
        found, since = [], step.n
        for name, recent in self.recent.items():
            dimensions, bars, _ = self.levels[name]
            recent.add(step.n, step.train.get(f"kl_{name}", math.nan) * bars / dimensions)
            if not recent.full:
                continue
            nats = recent.middle
            self.peak[name] = max(self.peak[name], nats)
            silent = nats < share * limits.silent and (late or self.peak[name] > 4 * limits.silent)
            fallen = nats < share * min(limits.quiet, limits.fallen * self.peak[name])
            if silent or fallen:
                found.append(
                    f"The {name} latents say {nats:.2g} nats a dimension, at most {self.peak[name]:.2g} before."
                )
                since = min(since, recent.steps[0])
        for name, active in self.activity.items():
            if name in self.levels and late and active < share * limits.active:
                found.append(f"{active:.0%} of the {name} dimensions are active.")
        return Sign(" ".join(found), since) if found else None


@watch(
    "critic_wins",
    "The critic tells every decoded bar from a real one (discriminator win): the decoder learns nothing from it.",
    "Weaken the critic with a smaller model.discriminator_layers or a larger loss.weights of r1, "
    "or let the decoder hear it at every step with loss.critic_every: 1.",
)
class CriticWins:
    """The critic's accuracy while the decoder listens: its mean surely above 95 %, though it waits above 90 %."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.recent = Values(run.window)

    def see(self, step: Step, on: bool) -> Sign | None:
        """Where the critic judged."""
        limits = self.run.limits
        if adversary.stage(step.n - 1, step.steps, self.run.config.loss) < 3:
            return None
        right = [value for name, value in step.train.items() if name.startswith("accuracy_")]
        self.recent.add(step.n, statistics.fmean(right) if right else math.nan)
        if not self.recent.full:
            return None
        values = self.recent.values
        mean = statistics.fmean(values)
        bound = mean - 2.6 * statistics.stdev(values) / math.sqrt(len(values))
        if mean < limits.shaken if on else bound <= limits.sure:
            return None
        hinge = step.train.get("critic_hinge")
        margin = "" if hinge is None else f", its hinge loss {hinge:.2g}"
        return Sign(f"Its accuracy is {mean:.0%}{margin}.", self.recent.steps[0])


@watch(
    "exploding_gradient",
    "Gradients are many times their usual length.",
    "train.clip cuts every step to its length; if the loss rises as well, lower train.lr or lengthen train.lr_warmup.",
)
class ExplodingGradient:
    """The last window's norms against the four windows before it, which stand still while the warning is on."""

    def __init__(self, run: Run) -> None:
        self.limits = run.limits
        self.recent, self.usual = Values(run.window), Values(4 * run.window)

    def see(self, step: Step, on: bool) -> Sign | None:
        """At every step."""
        norm = rates(step).get("gradient", math.nan)
        if self.recent.full and not on and math.isfinite(norm):
            self.usual.add(self.recent.steps[0], self.recent.values[0])
        self.recent.add(step.n, norm)
        if not self.recent.full or len(self.usual.values) < 8:
            return None
        times = self.recent.middle / max(self.usual.middle, 1e-12)
        if times < self.limits.steeper * (0.3 if on else 1.0):
            return None
        if higher(self.recent.values, self.usual.values) > self.limits.chance:
            return None
        return Sign(f"Their norm is {self.recent.middle:.3g}, {times:.0f} times as much.", self.recent.steps[0])


@watch(
    "slow",
    "Training has become several times slower than it was.",
    "See whether another program uses this machine, whether it is too hot, or whether memory is short; "
    "train.threads sets how many cores a run takes.",
)
class Slow:
    """Notes a second (else steps a second) of the last window against the fastest one of the same stage of the run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.before: Step | None = None
        self._begin(1)

    def _begin(self, stage: int) -> None:
        self.stage, self.recent, self.fastest = stage, Values(self.run.window), 0.0
        self.since: tuple[int, float] | None = None  # step and seconds

    def see(self, step: Step, on: bool) -> Sign | None:
        """At every step but the first."""
        before, self.before = self.before, step
        adversarial = self.run.config.model.mode == "vae_gan"
        stage = adversary.stage(step.n - 1, step.steps, self.run.config.loss) if adversarial else 1
        resumed = before is not None and step.seconds <= before.seconds
        if stage != self.stage or resumed or before is None:
            self._begin(stage)
            return None
        pace = rates(step).get("notes_per_second", 1 / (step.seconds - before.seconds))
        self.recent.add(step.n, pace)
        if not self.recent.full:
            return None
        now = self.recent.middle
        self.fastest = max(self.fastest, now)
        times = self.fastest / max(now, 1e-12)
        if times < self.run.limits.slower * (0.5 if on else 1.0):
            self.since = None
            return None
        self.since = self.since or (self.recent.steps[0], step.seconds)
        if step.seconds - self.since[1] < self.run.limits.patience:
            return None
        return Sign(f"Its pace is {1 / times:.0%} of what it was.", self.since[0])


@watch(
    "plateau",
    "The loss on held-out music has stopped falling.",
    "More steps will change little: stop here, or go on with a lower train.lr, "
    "or give the model more to learn with (more music, a larger model.hidden_dim or model.latent_dim).",
)
class Plateau:
    """Neither held-out loss nor held-out objective falls: the most that the interval of its slope allows is little."""

    def __init__(self, run: Run) -> None:
        self.limits, self.weighed = run.limits, Weighed(run.config)
        self.loss, self.whole = Values(run.limits.measurements), Values(run.limits.measurements)
        self.sign: Sign | None = None

    def see(self, step: Step, on: bool) -> Sign | None:
        """At measurements; between them what the last one said."""
        if step.held_out is None:
            return self.sign
        self.loss.add(step.n, step.held_out.get("loss", math.nan))
        self.whole.add(step.n, self.weighed.whole(step.held_out))
        self.sign = None
        if len(self.loss.values) >= self.limits.few and self._flat(self.loss, on) and self._flat(self.whole, on):
            words = f"Over the last {len(self.loss.values)} measurements it is about {self.loss.middle:.4g}."
            self.sign = Sign(words, self.loss.steps[0])
        return self.sign

    def _flat(self, series: Values, on: bool) -> bool:
        found = trend(series.steps, series.values)
        if found is None or found.p_rising < self.limits.doubt:
            return False
        best_case = -found.low * found.span / 1000 / max(abs(series.middle), 1e-12)
        least = self.limits.trifle if found.p_falling < self.limits.doubt else self.limits.gain
        return best_case < least * (2 if on else 1)


@watch(
    "overfitting",
    "The model is learning its music by heart: training losses fall while those on held-out music rise.",
    "Stop here (the best weights are kept in best), give it more music, or raise train.weight_decay, train.transpose "
    "or loss.word_dropout.",
)
class Overfitting:
    """The training objective has a falling trend, the held-out objective a rising one over the same measurements."""

    def __init__(self, run: Run) -> None:
        self.limits, self.weighed = run.limits, Weighed(run.config)
        self.train, self.held = Values(run.limits.measurements), Values(run.limits.measurements)
        self.sum, self.count = 0.0, 0
        self.sign: Sign | None = None

    def see(self, step: Step, on: bool) -> Sign | None:
        """At measurements; between them what the last one said."""
        value = self.weighed.whole(step.train)
        if math.isfinite(value):
            self.sum, self.count = self.sum + value, self.count + 1
        if step.held_out is None:
            return self.sign
        if self.count:  # not at the measurement before training
            self.train.add(step.n, self.sum / self.count)
            self.held.add(step.n, self.weighed.whole(step.held_out))
        self.sum, self.count = 0.0, 0
        self.sign = None
        learnt, held = (trend(series.steps, series.values) for series in (self.train, self.held))
        if learnt is not None and held is not None and self._apart(learnt, held, on):
            words = (
                f"On held-out music the objective rose from {min(self.held.values):.4g} to {self.held.values[-1]:.4g}."
            )
            self.sign = Sign(words, self.held.steps[0])
        return self.sign

    def _apart(self, learnt: Trend, held: Trend, on: bool) -> bool:
        doubt = self.limits.doubt * (4 if on else 1)
        least = 0 if on else self.limits.gain * abs(min(self.held.values))
        risen = self.held.values[-1] - min(self.held.values) > least
        return len(self.held.values) >= 5 and risen and learnt.p_falling < doubt and held.p_rising < doubt
