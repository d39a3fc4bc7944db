"""translate.py on films: frames, times and sound kept, damage named, formats, bad input."""

import resource
import threading
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

import data
import models
import pocket
import translate
from commands.translation import film_kinds, films
from commands.translation.film_drawing import write_film
from commands.translation.film_reading import Frame
from commands.translation.film_writing import FilmWriter
from commands.translation.folders import Translator
from errors import UserError
from models.resnet_generator import ResnetGenerator, ResnetSizes
from models.unet import UnetGenerator, UnetSizes

TIMES_MS = [0, 80, 170, 240, 400, 420, 500, 640, 720, 800, 880, 960]  # a variable rate
SIZE_PX, RATE = 32, 12
LOSS = 10  # grey levels, on average, that encoding may cost squares of 2 x 2 px


@pytest.fixture(scope="module")
def network():
    random = torch.Generator().manual_seed(0)
    network = ResnetGenerator(ResnetSizes(base_channels=2, blocks=1))
    return models.initialize(network, random, "normal", 0.3).eval()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    models.save_generator(folder / "generator.safetensors", network, {})
    drawn = data.draw_film(0, SIZE_PX, len(TIMES_MS))
    sound = data.tone(1.0)
    write_film(folder / "clip.mp4", drawn.frames(), rate=RATE, times_ms=TIMES_MS, sound=sound)
    return folder


def run(folder, source, out, *more):
    arguments = ("--checkpoint", folder / "generator.safetensors", "--input", source)
    translate.main([str(part) for part in (*arguments, "--output", out, *more)])


def frames_of(path):
    """The times of a film's frames in milliseconds and their levels."""
    with av.open(str(path)) as container:
        decoded = [*container.decode(container.streams.video[0])]
        times = [round(float(frame.pts * frame.time_base) * 1000) for frame in decoded]
        return times, [frame.to_ndarray(format="rgb24").astype(int) for frame in decoded]


def loss(one, other):
    """The mean difference in brightness of squares of 2 x 2 px, which share one colour in films."""
    height, width = (side // 2 for side in one.shape[:2])
    brightness = (one.astype(int) - other)[: 2 * height, : 2 * width] @ (0.2126, 0.7152, 0.0722)
    return np.abs(brightness.reshape(height, 2, width, 2).mean((1, 3))).mean()


def sound_of(path):
    with av.open(str(path)) as container:
        packets = [*container.demux(container.streams.audio[0])]
        return container.streams.audio[0].codec_context.name, [bytes(one) for one in packets]


def test_a_film_keeps_its_size_times_and_sound(folder, network, tmp_path, capsys):
    clip, out = folder / "clip.mp4", tmp_path / "new" / "out.mp4"
    run(folder, clip, out, "--batch_size", 5)
    assert "12 frames written by libx264; sound copied" in capsys.readouterr().err
    times, levels = frames_of(out)
    assert times == TIMES_MS and {one.shape for one in levels} == {(SIZE_PX, SIZE_PX, 3)}
    assert sound_of(out) == sound_of(clip) and sum(map(len, sound_of(out)[1])) > 1000
    for source, translated in zip(frames_of(clip)[1], levels, strict=True):
        picture = data.RGB.to_tensor(Image.fromarray(source.astype(np.uint8)))
        expected = data.to_levels(models.translate(network, picture[None])[0])
        expected = expected.permute(1, 2, 0).numpy()
        assert loss(translated, expected) < LOSS < loss(translated, source)
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


def remade(source, path, seconds=0, ratio=None, **metadata):
    """Copy a film without decoding it: later, with pixels that are not square, with metadata."""
    with av.open(str(source)) as clip, av.open(str(path), "w") as copy:
        copy.metadata.update(metadata)
        streams = {one.index: copy.add_stream_from_template(one) for one in clip.streams}
        if ratio:
            streams[clip.streams.video[0].index].codec_context.sample_aspect_ratio = ratio
        for packet in clip.demux():
            if packet.dts is not None:
                later = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return path


def test_a_film_that_begins_late_is_moved_to_its_beginning(folder, tmp_path):
    late = remade(folder / "clip.mp4", tmp_path / "late.ts", seconds=3600)
    with av.open(str(late)) as film:
        assert film.start_time > 3590 * av.time_base
    run(folder, late, tmp_path / "out.mp4")
    times = frames_of(tmp_path / "out.mp4")[0]
    assert max(times) < 1500 and np.diff(times) == pytest.approx(np.diff(TIMES_MS), abs=1)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert 0.9 < out.duration / av.time_base < 1.5


def test_pixels_that_are_not_square_keep_their_shape(folder, tmp_path):
    wide = remade(folder / "clip.mp4", tmp_path / "wide.mp4", ratio=Fraction(64, 45))
    run(folder, wide, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


def test_a_title_in_another_encoding_is_no_obstacle(folder, tmp_path):
    titled = remade(folder / "clip.mp4", tmp_path / "titled.mkv", title="XQX")
    content = titled.read_bytes()
    assert content.count(b"XQX") == 1
    titled.write_bytes(content.replace(b"XQX", b"X\xe9X"))
    run(folder, titled, tmp_path / "out.mp4")
    assert len(frames_of(tmp_path / "out.mp4")[0]) == len(TIMES_MS)


@pytest.mark.parametrize(("ending", "sound"), [("mkv", "aac"), ("webm", "opus")])
def test_other_containers(ending, sound, folder, tmp_path):
    out = tmp_path / f"out.{ending}"
    run(folder, folder / "clip.mp4", out)
    times = frames_of(out)[0]  # Matroska begins at 0, where the sound begins before the pictures
    assert np.abs(np.subtract(times, TIMES_MS) - times[0]).max() <= 1
    assert sound_of(out)[0].endswith(sound)
    with av.open(str(out)) as container:
        assert float(container.duration / av.time_base) == pytest.approx(1.1, abs=0.15)


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif", ".webp"])
def test_colours_are_kept(ending, folder, tmp_path):
    levels = np.zeros((32, 32, 3), np.uint8)
    levels[:16, :16, 0] = levels[:16, 16:, 1] = levels[16:, :16, 2] = 200
    path = tmp_path / "out"
    with films.Film(folder / "clip.mp4") as clip:
        output = FilmWriter(path, film_kinds.KINDS[ending], clip, (32, 32))
        for number in range(3):
            output.add(Frame(number * clip.step, 0, levels), clip.time_base)
        output.close()
    if ending == ".webp":
        found = np.asarray(Image.open(path).convert("RGB"))
    else:
        with films.Film(path) as film:
            found = next(film.frames(lambda packet: None)).levels
    for rows in (slice(3, 13), slice(19, 29)):
        for columns in (slice(3, 13), slice(19, 29)):
            difference = found[rows, columns].astype(int) - levels[rows, columns]
            assert np.abs(difference).max() <= 8


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animations(ending, folder, tmp_path, capsys):
    out = tmp_path / f"out.{ending}"
    run(folder, folder / "clip.mp4", out)
    assert "without the sound" in capsys.readouterr().err
    run(folder, folder / "clip.mp4", tmp_path / "out.mp4")
    with Image.open(out) as image:
        assert (image.n_frames, image.info["loop"], image.size) == (12, 0, (SIZE_PX, SIZE_PX))
        durations, shown = [], []
        for number in range(12):
            image.seek(number)
            shown.append(np.asarray(image.convert("RGB")).astype(int))
            durations.append(image.info["duration"])
    assert durations[:11] == np.diff(TIMES_MS).tolist()
    for one, other in zip(shown, frames_of(tmp_path / "out.mp4")[1], strict=True):
        assert loss(one, other) < LOSS


def test_odd_sides_are_padded_where_colours_are_halved(folder, tmp_path, capsys):
    drawn = [Image.fromarray(frame) for frame in data.draw_film(1, 33, 3).frames()]
    drawn = [frame.crop((0, 0, 33, 31)) for frame in drawn]
    drawn[0].save(tmp_path / "in.gif", save_all=True, append_images=drawn[1:], duration=100)
    run(folder, tmp_path / "in.gif", tmp_path / "out.mp4")
    assert "34 x 32 px" in capsys.readouterr().err
    times, levels = frames_of(tmp_path / "out.mp4")
    assert times == [0, 100, 200] and levels[0].shape == (32, 34, 3)
    assert np.abs(levels[0][:, 33] - levels[0][:, 32]).mean() < LOSS
    run(folder, tmp_path / "in.gif", tmp_path / "out.webp")
    assert Image.open(tmp_path / "out.webp").size == (33, 31)


def test_a_film_of_a_telephone_held_upright_is_turned(folder, tmp_path):
    turned, plain = tmp_path / "turned.mp4", tmp_path / "plain.mp4"
    scene = next(data.draw_film(0, SIZE_PX, 1).frames())
    for path, degrees in ((turned, 90), (plain, 0)):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=5, options={"crf": "5"})
            stream.width, stream.height, stream.pix_fmt = SIZE_PX, 16, "yuv420p"
            stream.set_display_rotation(degrees)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene[8:24]), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    found = []
    for path in (turned, plain):
        with films.Film(path) as film:
            found += [frame.levels for frame in film.frames(lambda packet: None)]
    assert [one.shape for one in found] == [(SIZE_PX, 16, 3), (16, SIZE_PX, 3)]
    assert np.array_equal(found[0], np.rot90(found[1]))  # by 90 degrees counterclockwise


def damaged(film, copy, times_ms):
    """Copy a film with the frames of some times overwritten."""
    content = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            time = None if packet.pts is None else round(packet.pts * stream.time_base * 1000)
            if time in times_ms:
                content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    copy.write_bytes(content)


def test_a_broken_frame_is_named_and_the_last_one_repeated(folder, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    damaged(folder / "clip.mp4", broken, [640])
    run(folder, broken, tmp_path / "out.mp4")
    told = capsys.readouterr().err
    assert "broken.mp4: the frame at 0.640 s is broken" in told and "takes its place" in told
    times, levels = frames_of(tmp_path / "out.mp4")
    assert times == TIMES_MS
    assert np.abs(levels[7] - levels[6]).mean() < 1 < np.abs(levels[6] - levels[5]).mean()


def test_frames_stream(network):
    taken = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield Frame(number, 0, np.full((16, 16, 3), number % 256, np.uint8))

    translator = Translator(network, data.RGB, data.RGB, "checkpoint", batch_size=2)
    made = films.translated_frames(translator, endless())
    assert [next(made).time for _ in range(20)] == [*range(20)]
    made.close()
    assert len(taken) < 20 + 2 * 2 * 2 * torch.get_num_threads() + 2


def test_an_error_in_writing_ends_the_passes_too(folder, tmp_path, monkeypatch):
    threads_before = threading.active_count()

    def full(writer, frame, time_base):
        raise OSError("the disk is full")

    monkeypatch.setattr(FilmWriter, "add", full)
    with pytest.raises(UserError, match="the disk is full") as held:
        run(folder, folder / "clip.mp4", tmp_path / "out.mp4")
    assert threading.active_count() == threads_before  # although the error holds every frame
    assert held.value.__traceback__ and not [*tmp_path.iterdir()]


def test_steady_averages_statistics(folder, network, tmp_path):
    frames = [Frame(n, 0, levels) for n, levels in enumerate(data.draw_film(0, 16, 4).frames())]
    translator = Translator(network, data.RGB, data.RGB, "checkpoint")

    def made(steady):
        return [one.levels for one in films.translated_frames(translator, frames, steady)]

    plain = [
        models.translate(network, data.RGB.to_tensor(Image.fromarray(f.levels))[None])
        for f in frames
    ]
    for one, expected in zip(made(1), plain, strict=True):
        assert np.array_equal(one, data.to_levels(expected[0]).permute(1, 2, 0).numpy())
    steady = made(3)
    assert np.abs(steady[0].astype(int) - made(1)[0]).max() <= 1  # alone in its mean
    assert not np.array_equal(steady[1], made(1)[1])
    run(folder, folder / "clip.mp4", tmp_path / "steady.mp4", "--steady", 3)
    run(folder, folder / "clip.mp4", tmp_path / "plain.mp4")
    assert (tmp_path / "steady.mp4").read_bytes() != (tmp_path / "plain.mp4").read_bytes()


def test_the_drawn_film_moves_as_it_says(tmp_path):
    drawn = data.draw_film(3, 32, 40, step_px=2)
    frames = [*drawn.frames()]
    assert len(frames) == 40 and frames[0].shape == (32, 32, 3)
    for one, following in zip(frames, frames[1:], strict=False):
        assert np.array_equal(one[:, 2:], following[:, :-2])
    light = [frame.mean() for frame in data.draw_film(3, 32, 7, step_px=0, wobble=0.1).frames()]
    assert max(light) / min(light) > 1.15
    pocket.main(["film", "--output", str(tmp_path / "x.mp4"), "--frames", "5", "--size", "32"])
    times, levels = frames_of(tmp_path / "x.mp4")
    assert times == [round(1000 * number / 24) for number in range(5)]
    expected = [*data.draw_film(0, 32, 5).frames()]
    assert max(map(loss, levels, expected)) < LOSS
    assert sound_of(tmp_path / "x.mp4")[0] == "aac"


def refused(fails, folder, source, out, *more):
    options = ["--checkpoint", folder / "generator.safetensors", "--input", source, "--output", out]
    line = fails(translate, [*options, *more])
    assert not out.is_file() and not [*out.parent.glob(".*.tmp")]
    return line


def test_files_that_are_no_films(folder, fails, tmp_path):
    out = tmp_path / "out" / "out.mp4"
    out.parent.mkdir()
    (tmp_path / "text.mp4").write_text("hello")
    assert "is no film that can be read" in refused(fails, folder, tmp_path / "text.mp4", out)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(data.tone(0.1).tobytes())
    line = refused(fails, folder, tmp_path / "sound.wav", out)
    assert "sound.wav: has no pictures, only sound" in line
    damaged(folder / "clip.mp4", tmp_path / "broken.mp4", TIMES_MS)
    line = refused(fails, folder, tmp_path / "broken.mp4", out)
    assert "no frame of it can be decoded" in line
    assert "no such file" in refused(fails, folder, tmp_path / "missing.mp4", out).lower()


def test_options_that_do_not_fit(folder, fails, tmp_path, monkeypatch):
    clip, out = folder / "clip.mp4", tmp_path / "out.mp4"
    line = refused(fails, folder, clip, tmp_path / "out.xyz")
    assert "--output" in line and "end it with one of .mp4" in line
    assert "end it with one of" in refused(fails, folder, clip, tmp_path)
    before = clip.read_bytes()
    weights = ["--checkpoint", folder / "generator.safetensors"]
    line = fails(translate, [*weights, "--input", clip, "--output", clip])
    assert "would replace the input" in line and clip.read_bytes() == before
    for option in (("--gallery",), ("--resume",), ("--side", "A")):
        assert f"{option[0]}: is for pictures" in refused(fails, folder, clip, out, *option)
    assert "--steady 0: below 1" in refused(fails, folder, clip, out, "--steady", 0)
    Image.new("RGB", (16, 16)).save(tmp_path / "in.png")
    line = refused(fails, folder, tmp_path / "in.png", tmp_path / "out.png", "--steady", 2)
    assert "--steady 2: is for films" in line
    unet = UnetGenerator(UnetSizes(base_channels=1, halvings=5))
    models.save_official(tmp_path / "unet.pth", unet)
    arguments = ["--checkpoint", tmp_path / "unet.pth", "--input", clip, "--output", out]
    assert "no instance norm" in fails(translate, [*arguments, "--steady", 2])
    monkeypatch.setattr(film_kinds, "find_spec", lambda name: None)
    line = refused(fails, folder, clip, out)
    assert "PyAV, which is not installed" in line and "[film]" in line


def test_no_room_on_the_disk_leaves_nothing(folder, fails, tmp_path):
    out = tmp_path / "out.mp4"
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))  # bytes: less than the film takes
    try:
        line = refused(fails, folder, folder / "clip.mp4", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--output" in line and "out.mp4: cannot be written (File too large)" in line
    assert not [*tmp_path.iterdir()]


def test_a_build_without_a_good_encoder_takes_the_next(folder, tmp_path, capsys, monkeypatch):
    kind = film_kinds.KINDS[".mp4"]._replace(encoders=("h264_of_nobody", "mpeg4"))
    monkeypatch.setitem(film_kinds.KINDS, ".mp4", kind)
    run(folder, folder / "clip.mp4", tmp_path / "out.mp4")
    assert "12 frames written by mpeg4" in capsys.readouterr().err
    assert frames_of(tmp_path / "out.mp4")[0] == TIMES_MS
