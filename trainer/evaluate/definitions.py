"""What every figure means and what it should reach, as data: the table, the JSON and the plots all read it here.

A name that ends with `*` stands for one figure of each slider (or statistic). Limits are those of the design's table of
figures: they hold for tier A of held-out music, mean over pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.attributes import SPECS

KEPT = {  # what a slider keeps -> how that is measured and the least of it
    "all but velocities": ("note F1 of onset, pitch and duration", 1.0),
    "onsets and pitches": ("note F1 of onset and pitch", 1.0),
    "onsets": ("sim_grv", 95.0),
    "harmony": ("sim_chr", 90.0),
}


@dataclass(frozen=True, slots=True)
class Definition:
    """A figure in words, with the limits it should lie between."""

    words: str
    least: float | None = None
    most: float | None = None
    better: int = 0  # 1 where more is better, -1 where less is; 0 where neither

    def meets(self, value: float) -> bool | None:
        """Whether a value lies within the limits; None without limits."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def aim(self) -> str:
        """The limits as they are written; empty without any."""
        low, high = (None if x is None else f"{x:g}" for x in (self.least, self.most))
        if low and high:
            return f"{low} to {high}"
        return f">= {low}" if low else f"<= {high}" if high else ""


def _more(words: str, least: float | None = None) -> Definition:
    return Definition(words, least=least, better=1)


def _less(words: str, most: float | None = None) -> Definition:
    return Definition(words, most=most, better=-1)


def _of_scope(prefix: str, scope: str) -> dict[str, Definition]:
    rho = "Spearman of slider position (nine, -2 to +2 sigma) and its attribute re-measured on the decoded notes"
    kept = {
        f"{prefix}kept.{s.name}": _more(f"at -1 and +1 of the slider, {scope}: {KEPT[s.keeps][0]}", KEPT[s.keeps][1])
        for s in SPECS
    }
    return kept | {
        f"{prefix}rho.*": _more(f"{rho}, {scope}; a constant counts 0", 0.95),
        f"{prefix}rho": _more(f"mean of the sliders' rho, {scope}"),
        f"{prefix}slope.*": Definition(f"sigma the re-measured attribute moves per sigma asked, {scope}; 1 as asked"),
        f"{prefix}slope": Definition(f"mean of the sliders' slopes, {scope}"),
        f"{prefix}independence": _less(
            f"mean over i != j of max(0, |rho(slider i, attribute j)| - |Spearman(attribute i, j)|), {scope}", 0.2
        ),
        f"{prefix}independence_by_piece": _less(f"the same with |rho| taken before the mean over pieces, {scope}"),
    }


def _of_scores(side: str, of: str) -> dict[str, Definition]:
    least = {"interpretability": 0.96, "scc": 0.975, "mig": 0.165, "sap": 0.32, "modularity": 0.69, "dmig": None}
    return {f"{side}.{name}": _more(f"{name.upper()} of {of} against the attributes", at) for name, at in least.items()}


DEFINITIONS: dict[str, Definition] = {
    "note_f1": _more("notes with equal onset and pitch, free-running from the posterior mean, mean over bars", 0.95),
    "note_f1_sampled": _more("the same from one posterior sample"),
    "note_f1_sampled_drop": _less("how much lower note F1 is from a posterior sample than from the mean", 0.02),
    "note_f1_16_bars": _more("the same over stretches of 16 bars, each taken as one", 0.93),
    "note_f1_16_bars_sampled": _more("stretches of 16 bars from one posterior sample"),
    "note_f1_dense": _more("note F1 of bars with 25 notes or more", 0.88),
    "note_f1_dense_sampled": _more("bars with 25 notes or more from one posterior sample"),
    "exact_bars": _more("share of bars with every note right"),
    "onset_f1": _more("F1 of the set of onsets of a bar, whatever sounds there"),
    "sim_chr": _more("cosine of 12 pitch classes per bar, 0 to 100", 98),
    "sim_grv": _more("cosine of onsets in 16ths per bar, 0 to 100", 97),
    "duration_error_quarters": _less("mean difference in duration of notes both versions have, in quarters"),
    "velocity_error": _less("mean difference in velocity of notes both versions have"),
    "elbo_nats_per_note": _less("negative ELBO per note of one posterior sample, free of weights"),
    "kl_*": Definition("nats per bar that a level's latents cost"),
    "swap_f1": Definition("note F1 with the latents of another piece's bar of the same meter"),
    "swap_chance": Definition("note F1 of those two source bars"),
    "swap_excess": _less("swap_f1 minus swap_chance", 0.05),
    **_of_scope("", "over eight bars"),
    **_of_scope("piece.", "over the whole piece (64 bars at most)"),
    **_of_scope("bar.", "over single bars"),
    "smooth.median_notes": _less(
        "median of notes that come or go in a 4-bar window per tenth of a sigma, sliders on onset or pitch",
        6,
    ),
    "smooth.p95_percent": _less("95th percentile of the same as a share of the window's notes", 25),
    "smooth.p95_percent.*": _less("the same of one slider"),
    "smooth.notes_moved_by_velocity_and_duration": _less("notes moved by articulation, dynamics, dynamic_spread", 0),
    "smooth.moves_that_change_something_percent": _more("moves of one sigma after which anything is different", 90),
    "smooth.changes_percent.*": _more("the same of one slider", 90),
    "returning_percent": _more("sliders that went away and came back to identical notes", 100),
    **_of_scores("latents", "posterior means"),
    **_of_scores("sliders", "slider settings"),
    "latents.scc.*": _more("largest absolute rank correlation of one attribute with a latent dimension"),
    "latents.traversed": _more("Spearman of that dimension's position and the attribute of the notes decoded there"),
    "latents.traversed.*": _more("the same of one attribute"),
    "sliders.scc.*": _more("largest absolute rank correlation of one attribute with a slider, all set at random"),
    "active_units": _more("dimensions whose replacement by the prior mean costs over .01 nat a bar", 0.5),
    "active_units.*": _more("the same of one level"),
    "active_units_burda": _more("dimensions whose posterior mean has a variance over .01"),
    "active_units_burda.*": _more("the same of one level"),
    "overlap.*": _more("area shared by the histograms of new and of held-out music", 0.9),
    "classifier": _less("held-out accuracy of real against new 8-bar windows, best of three seeds", 0.65),
    "classifier_shuffled": _more("check: real bars against the same in random order", 0.9),
    "classifier_halves": Definition("check: two halves of real music, mean of three seeds", 0.45, 0.55),
    "classifier_reliable": _more("1 where both checks hold"),
    "naturalness": _less("accuracy of the same classifier, real against morphed by one slider at -1 or +1", 0.65),
    "between.notes_from_a": _more("A to B in nine steps: minus Spearman of step and note F1 against A's end", 0.95),
    "between.notes_to_b": _more("A to B in nine steps: Spearman of step and note F1 against B's end", 0.95),
    "between.attributes": _more("mean |Spearman| of step and attributes that differ by over .5 sigma", 0.95),
    "between.*": _more("the same of one attribute"),
    "coherence.inside_percent": _more("mean of the inside_percent below; of music itself 50", 50),
    "coherence.chroma_next": Definition("new 16-bar pieces: cosine of pitch classes of neighbouring bars, 0 to 100"),
    "coherence.chroma_4_bars": Definition("the same of bars four apart"),
    "coherence.rhythm_next": Definition("cosine of onsets in 16ths of neighbouring bars, 0 to 100"),
    "coherence.rhythm_4_bars": Definition("the same of bars four apart"),
    "coherence.key_kept": Definition("share (0 to 100) of 4-bar phrases in the piece's key (Krumhansl-Kessler)"),
    "coherence.key_clarity": Definition("correlation of the piece's pitch classes with its key's profile"),
    "coherence.*.music": Definition("a quartile of what held-out music measures"),
    "coherence.*.inside_percent": _more("new pieces between the quartiles of held-out music", 50),
    "copies.run_new": Definition("longest run of (interval, duration) a new 16-bar piece shares with the reference"),
    "copies.run_music": Definition("the same of held-out music"),
    "copies.excess": _less("run_new minus run_music, medians", 0),
    "copies.longest_new": Definition("the longest such run of any new piece"),
    "copies.longest_music": Definition("the longest such run of any held-out piece"),
}


def define(name: str) -> Definition:
    """The definition of a figure; one without words for a name that has none."""
    if name in DEFINITIONS:
        return DEFINITIONS[name]
    head, _, tail = name.rpartition(".")
    if head.startswith("coherence."):
        return DEFINITIONS["coherence.*.music" if tail.startswith("music_") else f"coherence.*.{tail}"]
    if name.startswith("kl_"):
        return DEFINITIONS["kl_*"]
    return DEFINITIONS.get(f"{head}.*", Definition(""))
