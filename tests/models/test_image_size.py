"""Images are sent no larger than a side, once made, and priced and kept as they are sent."""

import asyncio
import base64
import io
import os
import random
from functools import cache
from pathlib import Path

import pytest
from PIL import Image as Pillow

from spavl.engine import isolated_resize as smaller_of_engine
from spavl.engine.isolated_resize import smaller_apart
from spavl.engine.sandbox import Sandbox, WorkerLimits
from spavl.imaging.resize import is_larger, smaller
from spavl.models.backends.dry_run import CostCountingFactory
from spavl.models.factory import ModelFactory
from spavl.models.model_settings import ModelSettings
from spavl.models.types import ImageData, Reply, ask_about
from spavl.models.wrappers import image_size
from spavl.models.wrappers.image_size import ResizedImages
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.store import RunFolder
from tests.support.images import encoded, photo
from tests.support.servers import Body, ChatServer


def ask(
    folder: Path, uri: str, image: ImageData, questions: int = 1, pace: int = 1536, own: int | None = None
) -> list[Reply]:
    async def asked() -> list[Reply]:
        with RunFolder(folder) as run:
            settings = {uri: ModelSettings(longest_side=own)}
            models = ModelFactory(run.ledger, pace=PaceConfig(longest_side=pace), settings=settings)
            model = models.open(uri, "responses")
            requests = [ask_about(image, f"question {number}") for number in range(questions)]
            try:
                return await asyncio.gather(*map(model.ask, requests))
            finally:
                await models.close()

    return asyncio.run(asked())


def image_in(body: Body) -> bytes:
    return base64.b64decode(body["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2])


def test_a_large_image_is_sent_smaller_made_once_and_paid_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    made: list[int] = []
    monkeypatch.setattr(image_size, "smaller_apart", lambda *given: made.append(1) or smaller_apart(*given))

    def answer(body: Body) -> str:
        sent.append(image_in(body))
        return "a tree"

    wallpaper = ImageData.of(encoded(photo(1, 64).resize((3840, 2160)), "JPEG"))
    with ChatServer(answer) as server:
        uri = f"openai/any@{server.url}"
        first = ask(tmp_path / "run", uri, wallpaper, questions=5)
        again = ask(tmp_path / "run", uri, wallpaper, questions=5)
        other = ask(tmp_path / "run", uri, wallpaper, own=512)
        ask(tmp_path / "run", uri, wallpaper, pace=1024)
    # Each run makes it anew, for images are large: not for each question, nor for one that was answered.
    assert len(sent) == 7 and len(made) == 4
    sizes = [Pillow.open(io.BytesIO(data)).size for data in (sent[0], *sent[-2:])]
    assert sizes == [(1536, 864), (512, 288), (1024, 576)]
    assert [reply.call for reply in first] == [reply.call for reply in again]
    assert other[0].call != first[0].call, "another image was sent, so it is another call"


@pytest.mark.parametrize("size", [(1536, 1000), (64, 64)])
def test_an_image_within_the_side_is_sent_as_it_is_under_its_own_key(tmp_path: Path, size: tuple[int, int]) -> None:
    sent: list[bytes] = []
    image = ImageData.of(encoded(photo(2).resize(size), "PNG"))
    with ChatServer(lambda body: sent.append(image_in(body)) or "a tree") as server:
        (reply,) = ask(tmp_path / "run", f"openai/any@{server.url}", image)
        assert reply.call == ask_about(image, "question 0").key("openai/any")
    assert sent == [image.data]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_kind_is_made_smaller_and_shows_the_same(kind: str) -> None:
    small = smaller(encoded(photo(3, 900), kind), 300)
    assert small is not None
    found = Pillow.open(io.BytesIO(small))
    assert found.size == (300, 300)
    wanted = photo(3, 900).resize((300, 300)).convert("L").tobytes()
    apart = [abs(one - two) for one, two in zip(found.convert("L").tobytes(), wanted, strict=True)]
    assert sum(apart) / len(apart) < 6


def _see_through(mode: str, **clear: object) -> bytes:
    """Black, of which the file says that it is clear."""
    buffer = io.BytesIO()
    Pillow.new(mode, (900, 600), 0).save(buffer, "PNG", transparency=clear["colour"])
    return buffer.getvalue()


def test_sixteen_bits_and_clear_colours_are_shown_as_people_see_them() -> None:
    deep = Pillow.new("I;16", (900, 600), 128 * 257)
    buffer = io.BytesIO()
    deep.save(buffer, "PNG")
    for data, shade in (
        (buffer.getvalue(), 128),
        (_see_through("L", colour=0), 255),
        (_see_through("RGB", colour=(0, 0, 0)), 255),
    ):
        small = smaller(data, 300)
        assert small is not None
        assert Pillow.open(io.BytesIO(small)).convert("RGB").getpixel((150, 100)) == (shade,) * 3


def _with_exif(exif: bytes) -> bytes:
    """A JPEG that decodes, and whose EXIF is nonsense."""
    buffer = io.BytesIO()
    photo(6, 900).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@cache
def _whole(kind: str) -> bytes:
    return _with_exif(_EXIF) if kind == "JPEG" else encoded(photo(7, 400), kind)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_decoder_raises_the_image_is_left_to_its_server(seed: int) -> None:
    """Headers and EXIF with bytes changed at random, of formats that decoders seldom meet too."""
    rng = random.Random(seed)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DDS", "AVIF", "PCX", "TGA"):
        whole = bytearray(_whole(kind))
        for _ in range(rng.randint(1, 30)):
            whole[rng.randrange(min(len(whole), 400))] = rng.randrange(256)
        is_larger(bytes(whole), 300)
        smaller(bytes(whole), 300)


_EXIF = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x02\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x1a\x01\x05\x00"
_EXIF += b"\x01\x00\x00\x00&\x00\x00\x00\x00\x00\x00\x00H\x00\x00\x00\x01\x00\x00\x00"


def test_what_is_no_image_is_left_to_its_server() -> None:
    whole = encoded(photo(4, 900), "PNG")
    for data in (b"no image", whole[: len(whole) // 2]):
        broken = ImageData.of(data)
        assert asyncio.run(ResizedImages().of(broken, 300)) is broken


def test_an_image_that_ends_who_unpacks_it_is_left_to_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smaller_of_engine, "_workers", lambda: Sandbox(_ends_itself, 1, WorkerLimits(60, 2**30)))
    deadly = ImageData.of(encoded(photo(5, 900), "PNG"))
    assert asyncio.run(ResizedImages().of(deadly, 300)) is deadly


def _ends_itself(shard: object) -> list[bytes]:
    os.abort()


def test_a_dry_run_counts_the_tokens_of_what_is_sent(tmp_path: Path) -> None:
    def tokens(longest_side: int) -> float:
        with RunFolder(tmp_path / str(longest_side)) as run:
            models = CostCountingFactory(run.ledger, {}, "likely", pace=PaceConfig(longest_side=longest_side))
            model = models.open("openai/qwen2.5-vl-72b@http://127.0.0.1:9/v1", "responses")
            image = ImageData.of(encoded(Pillow.new("RGB", (3840, 2160), "tan"), "PNG"))
            asyncio.run(model.ask(ask_about(image, "what is it?")))
            (tally,) = models.tallies.values()
            return tally.tokens_in

    assert tokens(4096) > 10_000 and tokens(1536) < 1_800
