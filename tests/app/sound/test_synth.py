"""The built-in synth: rendered to files, live through a real JACK server, and with each of its parts missing."""

from __future__ import annotations

import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.sound import fluid, fonts
from app.sound.fluid import Fluid
from app.sound.ports import now
from app.sound.render import limit, render
from app.sound.synth import AudioClock, SynthOut
from app.sound.transport import State, Transport
from engine.errors import MorphonyError
from engine.score import midi
from engine.score.score import Score, Track, make_notes
from engine.score.timing import TempoMap

RATE = fluid.SAMPLE_RATE


def melody(count: int = 60, step: int = 144) -> Score:
    """Piano notes and chords over five octaves, 0.15 s apart."""
    rows = []
    for i in range(count):
        rows.append((i * step, step - 10, 40 + i * 7 % 48, 60 + i * 11 % 60, 0))
        if i % 4 == 0:
            rows.append((i * step, step - 10, 45 + i * 5 % 40, 80, 0))
    return Score(480, (Track(),), make_notes(rows))


def read_wav(path: Path) -> NDArray[np.float64]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return data.reshape(-1, 2).mean(1) / 32768


def one_note(program: int, pitch: int, seconds: float = 1.0, channel: int = 0) -> NDArray[np.float32]:
    synth = Fluid()
    assert synth.load(fonts.OWN)
    synth.apply(bytes((0xC0 | channel, program)))
    synth.apply(bytes((0x90 | channel, pitch, 100)))
    sound = np.concatenate(list(synth.render(round(seconds * RATE))))
    synth.close()
    return sound.mean(1)


# ---------------------------------------------------------------- our own font


@pytest.mark.parametrize("program", [0, 12, 16, 24, 33, 48, 52, 56, 68, 73])
def test_a_440_is_in_tune_in_every_voice(program: int) -> None:
    sound = one_note(program, 69, 1.5)[RATE // 10 :]
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 20)) ** 2
    hertz = np.fft.rfftfreq(1 << 20, 1 / RATE)
    near = (hertz > 430) & (hertz < 450)
    centre = float((hertz[near] * power[near]).sum() / power[near].sum())
    assert 1200 * abs(np.log2(centre / 440)) < 5  # cents; an ensemble's own beating moves it by as much


def test_the_piano_is_heard_at_once() -> None:
    for pitch in (21, 45, 69, 93, 108):
        sound = np.abs(one_note(0, pitch, 0.3))
        assert (sound > 0.1 * sound.max()).argmax() < 0.005 * RATE


def test_no_program_and_no_drum_is_silent() -> None:
    for program in range(128):
        assert np.abs(one_note(program, 60, 0.08)).max() > 0.01, program
    for key in range(35, 82):
        assert np.abs(one_note(0, key, 0.08, channel=9)).max() > 0.005, key


def test_a_harder_touch_is_louder_and_brighter() -> None:
    def touch(velocity: int) -> tuple[float, float]:
        synth = Fluid()
        assert synth.load(fonts.OWN)
        synth.apply(bytes((0x90, 60, velocity)))
        sound = np.concatenate(list(synth.render(RATE // 2))).mean(1)
        synth.close()
        spectrum = np.abs(np.fft.rfft(sound))
        return float(np.abs(sound).max()), float((spectrum * np.arange(len(spectrum))).sum() / spectrum.sum())

    (quiet, dull), (loud, bright) = touch(40), touch(110)
    assert loud > 2 * quiet
    assert bright > 1.2 * dull


# ---------------------------------------------------------------- files


def test_a_rendered_file_has_its_onsets_where_they_belong(tmp_path: Path, onsets: ModuleType) -> None:
    score = melody(40)
    began = time.perf_counter()
    seconds, font = render(score, tmp_path / "out.wav", fonts.OWN)
    assert time.perf_counter() - began < seconds / 3  # many times faster, also on a busy machine
    assert font == "morphony.sf2"
    sound = read_wav(tmp_path / "out.wav")
    assert len(sound) / RATE == pytest.approx(seconds)
    notes = score.notes
    error, latency = onsets.errors(sound, RATE, TempoMap.of(score).to_seconds(notes["tick"]), notes["pitch"])
    assert onsets.share_within(error, 0.005) >= 0.95
    assert abs(latency) < 0.005


def test_real_music_has_its_onsets_where_they_belong(music: Path, tmp_path: Path, onsets: ModuleType) -> None:
    score = midi.read(next(iter(sorted(music.glob("finetune/nottingham/jigs4*.mid")))))
    render(score, tmp_path / "out.wav", fonts.OWN)
    notes = score.notes[:100]
    seconds = TempoMap.of(score).to_seconds(notes["tick"])
    error, _ = onsets.errors(read_wav(tmp_path / "out.wav"), RATE, seconds, notes["pitch"])
    assert onsets.share_within(error) >= 0.95


def test_the_measure_itself_sees_notes_that_are_late(tmp_path: Path, onsets: ModuleType) -> None:
    score = melody(30, 240)
    render(score, tmp_path / "out.wav", fonts.OWN)
    wrong = TempoMap.of(score).to_seconds(score.notes["tick"])
    wrong = wrong + np.where(np.arange(len(wrong)) % 3 == 0, 0.03, 0.0)
    error, _ = onsets.errors(read_wav(tmp_path / "out.wav"), RATE, wrong, score.notes["pitch"])
    assert onsets.share_within(error) < 0.75


def test_a_loud_file_does_not_clip() -> None:
    block = np.linspace(-3, 3, 1000, dtype=np.float32).reshape(-1, 2)
    bent = limit(block)
    assert np.abs(bent).max() <= 1
    assert (bent[np.abs(block) <= 0.8] == block[np.abs(block) <= 0.8]).all()


def test_a_file_that_is_no_sound_font_is_refused_in_a_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sf2"
    bad.write_bytes(b"RIFF\0\0\0\0WAVE")
    with pytest.raises(MorphonyError, match=r"bad\.sf2 is not a sound font"):
        render(melody(2), tmp_path / "out.wav", bad)
    bad.write_bytes(fonts.OWN.read_bytes()[:5000])
    with pytest.raises(MorphonyError, match=r"bad\.sf2 is damaged"):
        render(melody(2), tmp_path / "out.wav", bad)
    assert list(tmp_path.iterdir()) == [bad]


def test_a_piece_too_long_for_a_wav_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MorphonyError, match="hours"):
        render(Score(1, (Track(),), make_notes([(60_000, 1, 60, 80, 0)])), tmp_path / "out.wav")


# ---------------------------------------------------------------- live


@pytest.fixture
def synth(jack_server: str) -> Iterator[SynthOut]:
    out = SynthOut(fonts.OWN)
    status = out.wait_until_open()
    assert status.ok, status.sentence
    yield out
    out.close()


def play(transport: Transport, seconds: float = 60) -> None:
    """Feed as a window does, until the end or for some seconds."""
    transport.play()
    end = now() + seconds
    while transport.state is State.PLAYING and now() < end:
        time.sleep(0.04)
        transport.feed()


def test_live_onsets_are_on_time(synth: SynthOut, record: Callable[..., Any], onsets: ModuleType) -> None:
    assert synth.status.sentence == "FluidSynth plays with morphony.sf2 through jack."
    score = melody(32)
    transport = Transport(score)
    transport.set_ports([synth])
    recorder = record()
    play(transport)
    time.sleep(0.3)
    sound = recorder.stop()
    seconds = TempoMap.of(score).to_seconds(score.notes["tick"])
    error, _ = onsets.errors(sound, RATE, seconds, score.notes["pitch"])
    assert onsets.share_within(error) >= 0.95


def test_stop_ends_the_sound_and_what_is_queued(synth: SynthOut, record: Callable[..., Any]) -> None:
    transport = Transport(Score(480, (Track("", 48),), make_notes([(0, 9600, 60, 100, 0), (1200, 480, 67, 100, 0)])))
    transport.set_ports([synth])
    recorder = record()
    play(transport, 0.6)
    transport.stop()
    time.sleep(1.6)
    sound = recorder.stop()
    loud = np.abs(sound) > 0.005
    assert loud.any()
    assert not loud[-RATE // 2 :].any()


def test_a_program_sent_before_the_synth_is_open_is_not_lost(jack_server: str, record: Callable[..., Any]) -> None:
    out = SynthOut(fonts.OWN)
    moment = now()
    out.send(
        [(moment, bytes((0xC0, 48))), (moment + 1.2, bytes((0x90, 69, 100))), (moment + 1.7, bytes((0x80, 69, 0)))]
    )
    try:
        assert out.wait_until_open().ok
        recorder = record()
        time.sleep(max(moment + 1.9 - now(), 0))
        sound = recorder.stop()
    finally:
        out.close()
    assert np.abs(sound).max() > 0.01
    start = (np.abs(sound) > 0.3 * np.abs(sound).max()).argmax()
    assert (np.abs(sound[start + RATE // 5 : start + 2 * RATE // 5]) > 0.01).any()  # strings are held


def test_the_audio_clock_finds_the_truth_behind_whole_periods() -> None:
    clock, rng = AudioClock(), np.random.default_rng(0)
    for moment in np.cumsum(rng.uniform(0.03, 0.05, 400)):
        heard = moment - 7.0
        clock.observe(moment, int(heard // 0.0107 * 0.0107 * fluid.TICKS_PER_SECOND))
    assert clock.tick_at(107.0) / fluid.TICKS_PER_SECOND == pytest.approx(100.0, abs=0.0015)


def test_the_audio_clock_follows_a_slow_drift_without_a_step() -> None:
    clock, ticks = AudioClock(), []
    for i in range(3000):
        moment = i * 0.04
        clock.observe(moment, round(moment * (1 - 100e-6) * fluid.TICKS_PER_SECOND))
        ticks.append(clock.tick_at(moment) / fluid.TICKS_PER_SECOND - moment)
    assert ticks[-1] == pytest.approx(-3000 * 0.04 * 100e-6, abs=0.002)
    assert np.abs(np.diff(ticks)).max() < 0.0005


# ---------------------------------------------------------------- what may be missing


def test_without_an_audio_device_there_is_one_sentence() -> None:
    out = SynthOut(fonts.OWN, drivers=("jack", "pulseaudio"))
    try:
        status = out.wait_until_open()
        assert not status.ok
        assert status.sentence.startswith("No sound: no audio device could be opened (tried jack, pulseaudio); ")
        out.send([(now(), bytes((0x90, 60, 80)))])
        out.silence()
        out.panic()
        out.poll()
    finally:
        out.close()


def test_without_the_library_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing() -> None:
        raise MorphonyError(f"No sound: the FluidSynth library is not there; {fluid.INSTALL['linux']}.")

    monkeypatch.setattr(fluid, "library", missing)
    out = SynthOut()
    try:
        assert not out.wait_until_open().ok
        assert "libfluidsynth3" in out.status.sentence
    finally:
        out.close()
    with pytest.raises(MorphonyError, match="FluidSynth library"):
        render(melody(2), tmp_path / "out.wav")


def test_without_any_font_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "OWN", tmp_path / "none.sf2")
    monkeypatch.setattr(fonts, "folders", list)
    out = SynthOut(tmp_path / "neither.sf2")
    try:
        assert not out.wait_until_open().ok
        assert out.status.sentence.startswith("No sound: there is no sound font")
    finally:
        out.close()


def test_a_damaged_font_is_replaced_and_said_so(jack_server: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(fonts, "folders", list)
    bad = tmp_path / "mine.sf2"
    bad.write_bytes(fonts.OWN.read_bytes()[:5000])
    out = SynthOut(bad)
    try:
        status = out.wait_until_open()
        assert status.ok
        assert status.sentence.startswith(f"The sound font {bad} does not load; FluidSynth plays with morphony.sf2")
    finally:
        out.close()


def test_a_big_font_takes_over_from_the_small_one_when_it_is_loaded(
    jack_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "folders", list)
    monkeypatch.setattr(fonts, "SMALL_BYTES", 1000)  # our own is loaded in any case
    big = tmp_path / "big.sf2"
    big.write_bytes(fonts.OWN.read_bytes())
    out = SynthOut(big)
    try:
        assert out.wait_until_open().ok
        deadline = now() + 10
        while "big.sf2" not in out.status.sentence and now() < deadline:
            out.poll()
            time.sleep(0.02)
        assert out.status.sentence == "FluidSynth plays with big.sf2 through jack."
    finally:
        out.close()


def test_the_users_font_comes_first_then_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "FluidR3Mono_GM.sf3"
    user = tmp_path / "user.sf2"
    for path in (system, user):
        path.write_bytes(b"RIFF\0\0\0\0sfbk")
    monkeypatch.setattr(fonts, "folders", lambda: [tmp_path])
    assert fonts.wanted(user) == [user, system]
    assert fonts.wanted(None) == [system]
    assert not fonts.is_small(system)
