"""The sounds that the audio encoders are tested on, and how a reference reads sounds.

    pip install numpy soundfile soxr av
    python3 sounds.py

Makes the files of sounds/: chirp.flac (16 kHz, 4 s), knock.wav (48 kHz), tune.ogg (48 kHz, 7 s), bells.flac (32 kHz, 10.5 s),
rattle.flac (32 kHz); one second of a sine of 1 kHz as sine.mp3, sine.m4a, sine.aac, sine.webm (44.1 kHz,
stereo), sine.aiff and sine.caf (16 kHz); and sine.opus, of a codec that is not read.
"""
import pathlib

import av
import numpy
import soundfile
import soxr

HERE = pathlib.Path(__file__).parent / "sounds"
NAMES = ("chirp.flac", "knock.wav", "tune.ogg")


def read(path, rate):
    """A file -> [samples], the mean of its channels, at `rate`."""
    samples, own = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return mono if own == rate else soxr.resample(mono, own, rate, quality="VHQ").astype("float32")


def windows(samples, length):
    return [samples[start:start + length] for start in range(0, len(samples), length)]


def seconds(rate, length):
    return numpy.arange(round(rate * length)) / rate


def noise(random, t, deviation):
    return deviation * random.standard_normal(len(t))


def encode(path, codec, rate, samples):
    """[2, samples] as a file of FFmpeg's."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo", bit_rate=48_000, options={"strict": "-2"})
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate, frame_size=stream.frame_size)
        for frame in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(frame):
                file.mux(packet)


def main():
    random = numpy.random.default_rng(7)
    HERE.mkdir(exist_ok=True)
    t = seconds(16_000, 4)
    chirp = 0.4 * numpy.sin(2 * numpy.pi * (200 * t + 800 * t ** 2)) + noise(random, t, 0.001)
    soundfile.write(HERE / "chirp.flac", chirp, 16_000, subtype="PCM_16")
    t = seconds(48_000, 0.31)
    knock = numpy.exp(-t * 12) * (0.5 * numpy.sin(2 * numpy.pi * 700 * t) + noise(random, t, 0.1))
    soundfile.write(HERE / "knock.wav", knock, 48_000, subtype="PCM_16")
    t = seconds(48_000, 7)
    pitch = 220 * 2 ** (numpy.floor(t * 3) * 5 % 12 / 12)
    tune = sum(0.2 / n * numpy.sin(2 * numpy.pi * n * numpy.cumsum(pitch) / 48_000) for n in range(1, 9))
    soundfile.write(HERE / "tune.ogg", tune * (1 - t * 3 % 1), 48_000, format="OGG", subtype="VORBIS")
    t = seconds(44_100, 1)
    sine = numpy.stack([0.5 * numpy.sin(2 * numpy.pi * 1000 * t)] * 2).astype("float32")
    soundfile.write(HERE / "sine.mp3", sine.T, 44_100, format="MP3")
    for name, codec in (("m4a", "aac"), ("aac", "aac"), ("webm", "vorbis")):
        encode(HERE / f"sine.{name}", codec, 44_100, sine)
    encode(HERE / "sine.opus", "libopus", 48_000, sine)
    t = seconds(16_000, 1)
    for name in ("aiff", "caf"):
        soundfile.write(HERE / f"sine.{name}", 0.5 * numpy.sin(2 * numpy.pi * 1000 * t), 16_000, subtype="PCM_16")
    t = seconds(32_000, 10.5)
    bells = sum(0.2 * numpy.exp(-(t % 3.5) * 9) * numpy.sin(2 * numpy.pi * hertz * t) for hertz in (523, 1318, 2637, 6271))
    soundfile.write(HERE / "bells.flac", bells, 32_000, subtype="PCM_16")
    t = seconds(32_000, 0.9)
    rattle = numpy.exp(-t * 13 % 1 * 6) * noise(random, t, 0.05) + 0.1 * numpy.sin(2 * numpy.pi * (300 + 900 * t) * t)
    soundfile.write(HERE / "rattle.flac", rattle, 32_000, subtype="PCM_16")


if __name__ == "__main__":
    main()
