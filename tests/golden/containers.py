"""Sounds whose container says more than their packets do, and what the reference reads of them.

    pip install numpy soundfile av imageio-ffmpeg==0.8.*
    apt-get install ffmpeg
    python3 containers.py

Makes containers/: half a second of noise under a chirp as original.flac (16 kHz), and with encoder's delay and padding that
the container announces, as edits.m4a and edits.mp4 (AAC and MP3, edit lists), gap.m4a (AAC, iTunes' note), delay.mka and
delay_mp3.mka and delay_vorbis.webm (CodecDelay; DiscardPadding); its first quarter of a second as packets.caf (ALAC, whose
packet table has room behind its last entry); and as ADPCM, each FILE with FILE.flac, the samples that libsndfile reads:
ima.wav, ima_stereo.wav, ima.aifc, ms.wav, ms_stereo.wav. And in24.mov, PCM as QuickTime has it. What only MP4 has is made
by `of_mp4`, each FILE with FILE.flac, what FFmpeg decodes.
"""
import pathlib
import struct
import subprocess

import av
import imageio_ffmpeg
import numpy
import soundfile

HERE = pathlib.Path(__file__).parent / "containers"
RATE = 16_000
# The newest, which drops the padding that an MP4 file announces: it decodes.
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg(source, path, *options):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, "-fflags", "+bitexact", path], check=True)


def matroska(path, codec, samples):
    with av.open(str(path), "w", format="matroska") as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype("float32"), format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=RATE, frame_size=stream.frame_size)
        for frame in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(frame):
                file.mux(packet)


def atom(name, content):
    return struct.pack(">I", 8 + len(content)) + name + content


def with_gap(file, delay, padding, samples):
    """An MP4 file whose `moov` comes last, with iTunes' note in it."""
    text = f" 00000000 {delay:08X} {padding:08X} {samples:016X}" + " 00000000" * 8
    note = atom(b"----", atom(b"mean", bytes(4) + b"com.apple.iTunes") + atom(b"name", bytes(4) + b"iTunSMPB")
                + atom(b"data", struct.pack(">II", 1, 0) + text.encode()))
    handler = atom(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    udta = atom(b"udta", atom(b"meta", bytes(4) + handler + atom(b"ilst", note)))
    start = file.rindex(b"moov") - 4
    moov = file[start + 8:]
    old = moov.find(b"udta")
    moov = moov if old < 0 else moov[:old - 4]
    return file[:start] + atom(b"moov", moov + udta)


def changed(file, change):
    """An MP4 file with another content of some atoms; no atom before the data changes its size."""
    made = b""
    while file:
        size, name = struct.unpack(">I4s", file[:8])
        content = file[8:size]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"):
            content = changed(content, change)
        made += atom(*change(name, content))
        file = file[size:]
    return made


def of_mp4(original):
    fragments = ["-movflags", "frag_keyframe+empty_moov", "-frag_duration", "150000"]
    later = ["-movflags", "frag_keyframe+delay_moov", "-frag_duration", "150000"]
    video = ["-f", "lavfi", "-i", "testsrc=size=32x32:rate=10:duration=0.5", "-map", "1", "-map", "0", "-c:v", "mpeg4"]
    for name, *options in (
        ("fragments_mp3.mp4", "-c:a", "libmp3lame", "-b:a", "64k", *fragments), ("fragments_aac.m4a", "-c:a", "aac", *fragments),
        ("fragments_alac.m4a", "-c:a", "alac", *fragments), ("edit_fragments.m4a", "-c:a", "aac", *later),
        ("vorbis.mp4", "-c:a", "libvorbis", "-q:a", "0"), ("vorbis_fragments.mp4", "-c:a", "libvorbis", "-q:a", "0", *fragments),
        ("layer2.mp4", "-c:a", "mp2", "-b:a", "64k"), ("layer2_fragments.mp4", "-c:a", "mp2", "-b:a", "64k", *fragments),
        ("cookie.mov", "-c:a", "alac"), ("alaw.mov", "-c:a", "pcm_alaw"), ("mulaw.mov", "-c:a", "pcm_mulaw"),
        ("behind_video.mp4", *video, "-c:a", "aac"), ("no_edits.m4a", "-c:a", "aac", "-use_editlist", "0"),
    ):
        ffmpeg(original, HERE / name, *options)
    plain = (HERE / "edits.m4a").read_bytes()

    def far(name, content):
        if name != b"stco":
            return name, content
        count, *places = struct.unpack(f">{len(content) // 4 - 1}I", content[4:])
        return b"co64", content[:4] + struct.pack(f">I{count}Q", count, *places)

    def twice(name, content):
        return name, content[:4] + struct.pack(">I", 2) + 2 * content[8:] if name == b"stsd" else content

    def parts(name, content):
        edits = struct.pack(">IIIIIIII", 0, 2, 100, 1024, 0x10000, 100, 1024 + 4000, 0x10000)
        return name, edits if name == b"elst" else content

    for name, change in (("far.m4a", far), ("two_entries.m4a", twice), ("parts.m4a", parts)):
        (HERE / name).write_bytes(changed(plain, change))
    for path in sorted(HERE.iterdir()):
        if path.suffix not in (".mp4", ".m4a", ".mov") or path.name in ("edits.m4a", "edits.mp4", "gap.m4a", "in24.mov", "parts.m4a"):
            continue
        decoded = subprocess.run([FFMPEG, "-v", "error", "-i", path, "-map", "0:a:0", "-f", "f32le", "-"], check=True, capture_output=True)
        soundfile.write(f"{path}.flac", numpy.frombuffer(decoded.stdout, "<f4"), RATE, subtype="PCM_16")


def main():
    HERE.mkdir(exist_ok=True)
    random = numpy.random.default_rng(11)
    t = numpy.arange(RATE // 2) / RATE
    sound = 0.4 * numpy.sin(2 * numpy.pi * (200 * t + 900 * t ** 2)) + 0.03 * random.standard_normal(len(t))
    original = HERE / "original.flac"
    soundfile.write(original, sound, RATE, subtype="PCM_16")
    ffmpeg(original, HERE / "edits.m4a", "-c:a", "aac", "-b:a", "64k")
    ffmpeg(original, HERE / "edits.mp4", "-c:a", "libmp3lame", "-b:a", "64k")
    ffmpeg(original, HERE / "gap.m4a", "-c:a", "aac", "-b:a", "64k", "-use_editlist", "0")
    gap = HERE / "gap.m4a"
    packets = -(-(1024 + len(t)) // 1024)
    gap.write_bytes(with_gap(gap.read_bytes(), 1024, packets * 1024 - 1024 - len(t), len(t)))
    matroska(HERE / "delay.mka", "aac", sound)
    matroska(HERE / "delay_mp3.mka", "libmp3lame", sound)
    ffmpeg(original, HERE / "delay_vorbis.webm", "-c:a", "libvorbis", "-q:a", "0")
    soundfile.write(HERE / "packets.caf", sound[:RATE // 4], RATE, format="CAF", subtype="ALAC_16")
    stereo = HERE / "stereo.wav"
    soundfile.write(stereo, numpy.stack([sound, 0.7 * sound[::-1]], 1), RATE, subtype="PCM_16")
    for name, source, codec in (("ima.wav", original, "adpcm_ima_wav"), ("ima_stereo.wav", stereo, "adpcm_ima_wav"),
                                ("ima.aifc", original, "adpcm_ima_qt"), ("ms.wav", original, "adpcm_ms"),
                                ("ms_stereo.wav", stereo, "adpcm_ms")):
        ffmpeg(source, HERE / name, "-c:a", codec)
        samples, rate = soundfile.read(HERE / name, dtype="int16")
        soundfile.write(HERE / f"{name}.flac", samples, rate, subtype="PCM_16")
    stereo.unlink()
    ffmpeg(original, HERE / "in24.mov", "-c:a", "pcm_s24be")
    of_mp4(original)


if __name__ == "__main__":
    main()
