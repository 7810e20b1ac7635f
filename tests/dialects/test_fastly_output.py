"""Fastly: which format comes out of which source for which client, and how it is encoded."""

from __future__ import annotations

import pytest

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly import output as fastly_output
from cropmark.dialects.fastly import parse
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.output import equivalent_quality
from cropmark.dialects.fastly.settings import FastlySettings, JpegType
from cropmark.model.formats import TRAITS, WRITABLE, Format, Info
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, H264Profile, KeepMetadata, Order, Output, TriState, Video
from cropmark.plan.source import matches_any

BROWSER = "image/avif,image/webp,image/apng,*/*;q=0.8"
WEBP_ONLY = "image/webp,*/*"
OLD = "image/jpeg,image/png,*/*;q=0.5"

PNG = Info(Format.PNG, Size(400, 300), 1000, lossless=True)
CUTOUT = Info(Format.PNG, Size(400, 300), 1000, lossless=True, alpha=True)
JPEG = Info(Format.JPEG, Size(400, 300), 1000)
GIF = Info(Format.GIF, Size(400, 300), 1000, lossless=True)
ANIMATED_GIF = Info(Format.GIF, Size(400, 300), 1000, frames=4, lossless=True)
WEBP = Info(Format.WEBP, Size(400, 300), 1000)
LOSSLESS_WEBP = Info(Format.WEBP, Size(400, 300), 1000, lossless=True)
ANIMATED_WEBP = Info(Format.WEBP, Size(400, 300), 1000, frames=4)
AVIF = Info(Format.AVIF, Size(400, 300), 1000)
MOVING_AVIF = Info(Format.AVIF, Size(400, 300), 1000, frames=4)


def order_of(query: str, accept: str = "", settings: FastlySettings | None = None) -> Order:
    return Fastly(settings or FastlySettings()).order(ImageRequest("a.png", query, {"accept": accept}))


def output_of(query: str, accept: str = "", settings: FastlySettings | None = None) -> Output:
    plan = order_of(query, accept, settings).plan
    assert plan is not None
    return plan.output


def taken(output: Output, source: Info) -> EncodingChoice:
    """The first choice that is not skipped, without limits."""
    for choice in output.choices:
        named = choice.format or source.format
        loses = source.animated and not (output.first_frame or TRAITS[named].animated)
        kept = not (choice.keep_animation and loses)
        if TRAITS[named].writable and kept and not matches_any(choice.skipped_for, source):
            return choice
    raise AssertionError(f"no choice for {source}")


def described(choice: EncodingChoice, source: Info) -> str:
    """A choice in a few words: webpll 85, jpeg~ 85 (progressive as the source), png8."""
    assert choice.format is not None
    lossless = choice.lossless is TriState.YES or (choice.lossless is TriState.AS_SOURCE and source.lossless)
    word = choice.format.value + ("8" if choice.palette else "") + ("ll" if lossless else "")
    word += {TriState.YES: "+", TriState.NO: "", TriState.AS_SOURCE: "~"}[choice.progressive]
    return f"{word} {choice.quality}" if choice.quality and not lossless else word


WITH_JXL = TRAITS[Format.JXL].writable
MP4 = "mp4" if TRAITS[Format.MP4].writable else "gif"
VIDEO = FastlySettings(allow_video=True)
PLAYER = "video/mp4,image/png"
BOTH = f"{BROWSER},video/mp4"

# fmt: off
OUTPUTS = [
    # query                                 Accept     source         becomes
    ("width=200",                           WEBP_ONLY, PNG,           "png"),            # Accept alone changes nothing
    ("width=200",                           "",        JPEG,          "jpeg~ 85"),       # progressive as the source
    ("width=200",                           "",        WEBP,          "webp 85"),
    ("width=200",                           "",        LOSSLESS_WEBP, "webpll"),
    ("width=200&quality=50",                "",        LOSSLESS_WEBP, "webp 50"),        # F12
    ("width=200",                           "",        AVIF,          "avif 64"),        # F13
    ("width=200",                           "",        GIF,           "gif"),
    ("width=200&quality=50",                "",        PNG,           "png"),            # PNG ignores quality
    ("format=jpg",                          "",        PNG,           "jpeg~ 85"),
    ("format=JPEG&quality=30",              "",        PNG,           "jpeg~ 30"),       # W4
    ("format=bjpg",                         "",        JPEG,          "jpeg 85"),
    ("format=bjpeg",                        "",        JPEG,          "jpeg 85"),
    ("format=pjpg",                         "",        PNG,           "jpeg+ 85"),
    ("format=pjpeg",                        "",        ANIMATED_GIF,  "jpeg+ 85"),       # F8: the first frame
    ("format=png",                          "",        JPEG,          "png"),
    ("format=png8",                         "",        JPEG,          "png8"),
    ("format=png8&quality=40",              "",        JPEG,          "png8 40"),        # F13
    ("format=gif",                          "",        JPEG,          "gif"),
    ("format=webp",                         "",        JPEG,          "webp 85"),
    ("format=webp",                         "",        PNG,           "webpll"),         # F12
    ("format=webp&quality=80",              "",        PNG,           "webp 80"),        # F12
    ("format=webp",                         "",        ANIMATED_GIF,  "gif"),            # F8
    ("format=webp&frame=1",                 "",        ANIMATED_GIF,  "webpll"),         # F9: a still then
    ("format=webpll",                       "",        JPEG,          "webpll"),
    ("format=webply",                       "",        PNG,           "webp 85"),
    ("format=avif",                         "",        PNG,           "avif 64"),
    ("format=avif&quality=50",              "",        PNG,           "avif 50"),
    ("format=avif",                         "",        ANIMATED_GIF,  "gif"),            # F8
    ("format=jxl",                          "",        PNG,           "jxl" if WITH_JXL else "png"),
    ("format=jxl&quality=60",               "",        PNG,           "jxl 60" if WITH_JXL else "png"),
    ("format=jxl&optimize=high",            "",        PNG,           "jxl 64" if WITH_JXL else "png"),
    ("format=mp4",                          "",        ANIMATED_GIF,  "gif"),            # F10
    ("format=svg",                          "",        JPEG,          "jpeg~ 85"),       # F16
    # auto
    ("auto=webp",                           WEBP_ONLY, PNG,           "webpll"),         # lossless base
    ("auto=webp",                           "*/*",     PNG,           "png"),            # a wildcard does not count
    ("auto=webp",                           "image/webp;q=0", PNG,    "png"),
    ("auto=webp",                           OLD,       JPEG,          "jpeg~ 85"),
    ("auto=webp",                           WEBP_ONLY, JPEG,          "webp 85"),
    ("auto=webp&format=pjpg",               WEBP_ONLY, PNG,           "webp 85"),        # base pjpg is lossy
    ("auto=webp&format=pjpg",               OLD,       PNG,           "jpeg+ 85"),
    ("auto=webp&format=png",                WEBP_ONLY, JPEG,          "webpll"),
    ("auto=webp&format=png8",               WEBP_ONLY, JPEG,          "webp 85"),        # F1
    ("auto=webp&format=webp",               WEBP_ONLY, PNG,           "webpll"),         # F12 holds for the base
    ("auto=webp&quality=85,70&format=jpg",  WEBP_ONLY, PNG,           "webp 70"),
    ("auto=webp&quality=85,70&format=jpg",  OLD,       PNG,           "jpeg~ 85"),
    ("auto=webp",                           WEBP_ONLY, ANIMATED_GIF,  "gif"),            # F8
    ("auto=webp",                           WEBP_ONLY, GIF,           "webpll"),
    ("auto=webp",                           WEBP_ONLY, ANIMATED_WEBP, "webp 85"),
    ("auto=avif",                           BROWSER,   ANIMATED_WEBP, "webp 85"),        # stays animated
    ("auto=avif",                           BROWSER,   MOVING_AVIF,   "avif 64"),
    ("auto=avif",                           BROWSER,   PNG,           "avif 64"),        # lossy even so
    ("auto=avif",                           WEBP_ONLY, PNG,           "png"),
    ("auto=webp",                           WEBP_ONLY, MOVING_AVIF,   "webp 85"),        # the client takes no AVIF
    ("auto=webp",                           OLD,       MOVING_AVIF,   "avif 64"),
    ("format=webp",                         "",        MOVING_AVIF,   "webp 85"),
    ("format=auto",                         BROWSER,   MOVING_AVIF,   "avif 64"),
    ("format=auto",                         WEBP_ONLY, MOVING_AVIF,   "webp 82"),
    ("format=auto",                         OLD,       MOVING_AVIF,   "gif"),            # F6: never a still
    ("auto=webp,avif",                      BROWSER,   JPEG,          "avif 64"),        # F4: AVIF first
    ("auto=webp,avif",                      WEBP_ONLY, JPEG,          "webp 85"),
    ("auto=format",                         BROWSER,   JPEG,          "avif 64"),        # W2
    ("auto=true",                           WEBP_ONLY, JPEG,          "webp 85"),        # W2
    ("auto=compress,format",                WEBP_ONLY, JPEG,          "webp 85"),
    # format=auto
    ("format=auto",                         BROWSER,   PNG,           "avif 64"),
    ("format=auto&auto=webp",               "image/webp,image/avif", PNG, "avif 64"),    # format=auto beats auto
    ("format=auto",                         "image/jxl,image/webp", JPEG, "jxl" if WITH_JXL else "webp 82"),
    ("format=auto&quality=75",              "image/jxl,image/webp", JPEG, "jxl 74" if WITH_JXL else "webp 72"),
    ("format=auto",                         WEBP_ONLY, PNG,           "webp 82"),        # lossy
    ("format=auto&quality=75",              WEBP_ONLY, PNG,           "webp 72"),
    ("format=auto&quality=100",             WEBP_ONLY, JPEG,          "webpll"),
    ("format=auto&quality=100",             BROWSER,   JPEG,          "avifll"),
    ("format=auto&bw=atkinson",             WEBP_ONLY, JPEG,          "webpll"),
    ("format=auto&bw=atkinson",             OLD,       JPEG,          "png"),            # without loss
    ("format=auto",                         OLD,       PNG,           "png"),
    ("format=auto",                         OLD,       JPEG,          "jpeg~ 85"),
    ("format=auto",                         OLD,       GIF,           "gif"),
    ("format=auto",                         OLD,       AVIF,          "jpeg~ 85"),
    ("format=auto",                         OLD,       Info(Format.AVIF, Size(9, 9), 9, alpha=True), "png"),
    ("format=auto",                         BROWSER,   ANIMATED_GIF,  "webp 82"),        # F6
    ("format=auto",                         "image/avif", ANIMATED_GIF, "gif"),
    ("format=auto",                         OLD,       ANIMATED_WEBP, "gif"),
    ("format=auto&frame=1",                 BROWSER,   ANIMATED_GIF,  "avif 64"),
    # optimize: 90, 80, 65 on JPEG's scale
    ("optimize=low",                        "",        JPEG,          "jpeg~ 90"),
    ("optimize=medium&format=webp",         "",        JPEG,          "webp 77"),
    ("optimize=high&format=avif",           "",        JPEG,          "avif 49"),
    ("optimize=high&quality=33",            "",        JPEG,          "jpeg~ 33"),       # quality wins
    ("optimize=high",                       "",        PNG,           "png"),
]
# fmt: on


@pytest.mark.parametrize(("query", "accept", "source", "becomes"), OUTPUTS)
def test_output(query: str, accept: str, source: Info, becomes: str) -> None:
    assert described(taken(output_of(query, accept), source), source) == becomes


@pytest.mark.parametrize(
    ("query", "compact"),
    [("width=9", False), ("quality=60", False), ("optimize=high", True), ("optimize=low&format=jpg&quality=70", True)],
)
def test_a_jpeg_is_compact_if_optimize_asks_for_it(query: str, compact: bool) -> None:
    assert taken(output_of(query), JPEG).compact is compact


# fmt: off
SERVICES = [
    # settings                                 query          Accept     source        becomes
    (FastlySettings(webp=True),                "width=9",     WEBP_ONLY, PNG,          "webpll"),
    (FastlySettings(webp=True),                "auto=avif",   BROWSER,   JPEG,         "avif 64"),
    (FastlySettings(webp_quality=70),          "format=webp", "",        JPEG,         "webp 70"),
    (FastlySettings(jpeg_quality=60),          "",            "",        JPEG,         "jpeg~ 60"),
    (FastlySettings(jpeg_quality=75),          "format=auto", WEBP_ONLY, JPEG,         "webp 72"),
    (FastlySettings(jpeg_type=JpegType.PROGRESSIVE), "format=jpg", "",   PNG,          "jpeg+ 85"),
    (FastlySettings(jpeg_type=JpegType.BASELINE), "width=9",  "",        JPEG,         "jpeg 85"),
    (FastlySettings(jpeg_type=JpegType.BASELINE), "format=pjpg", "",     JPEG,         "jpeg+ 85"),
    (FastlySettings(animated_webp=True),       "auto=webp",   WEBP_ONLY, ANIMATED_GIF, "webpll"),
    (FastlySettings(animated_webp=True),       "format=avif", "",        ANIMATED_GIF, "gif"),
    (FastlySettings(animated_auto=True),       "auto=webp",   WEBP_ONLY, ANIMATED_GIF, "webpll"),
    (FastlySettings(animated_auto=True),       "auto=avif",   BROWSER,   ANIMATED_GIF, "avif 64"),
    (FastlySettings(animated_auto=True),       "auto=avif",   WEBP_ONLY, ANIMATED_GIF, "gif"),
    (FastlySettings(animated_auto=True),       "auto=avif",   BROWSER,   ANIMATED_WEBP, "avif 64"),
    (FastlySettings(animated_auto=True),       "format=auto", BROWSER,   ANIMATED_GIF, "avif 64"),
    (FastlySettings(animated_auto=True),       "format=auto", OLD,       ANIMATED_GIF, "gif"),
    (FastlySettings(animated_auto=True),       "format=webp", WEBP_ONLY, ANIMATED_GIF, "gif"),  # F8
    (FastlySettings(animated_auto=True),       "format=avif", BROWSER,   ANIMATED_GIF, "gif"),  # F8
    (VIDEO,                                    "format=mp4",  "",        ANIMATED_GIF, MP4),
    (VIDEO,                                    "format=mp4&auto=webp", BROWSER, ANIMATED_GIF, MP4),
    (VIDEO,                                    "format=mp4",  "",        GIF,          "gif"),  # F10
    (VIDEO,                                    "format=mp4",  "",        ANIMATED_WEBP, "webp 85"),  # F10
    (VIDEO,                                    "format=mp4",  "",        JPEG,         "jpeg~ 85"),  # F10
    (VIDEO,                                    "format=auto", PLAYER,    ANIMATED_GIF, "gif"),
    (FastlySettings(animated_auto=True),       "format=auto", PLAYER,    ANIMATED_GIF, "gif"),
    (FastlySettings(animated_auto=True, allow_video=True), "format=auto", PLAYER, ANIMATED_GIF, MP4),
    (FastlySettings(animated_auto=True, allow_video=True), "format=auto", PLAYER, ANIMATED_WEBP, "gif"),
    (FastlySettings(animated_auto=True, allow_video=True), "format=auto", BOTH, ANIMATED_GIF, "avif 64"),
]
# fmt: on


@pytest.mark.parametrize(("settings", "query", "accept", "source", "becomes"), SERVICES)
def test_service_settings(settings: FastlySettings, query: str, accept: str, source: Info, becomes: str) -> None:
    assert described(taken(output_of(query, accept, settings), source), source) == becomes


# fmt: off
VIDEOS = [
    # query                    video
    ("",                       Video()),
    ("level=4.1",              Video()),                           # one alone: baseline and 3.0
    ("profile=high",           Video()),
    ("level=4.1&profile=high", Video(H264Profile.HIGH, 41)),
    ("level=3.0&profile=baseline", Video(H264Profile.BASELINE, 30)),
    ("level=9.9&profile=high", Video()),                           # W3: 9.9 is ignored with a warning
]
# fmt: on


@pytest.mark.skipif(MP4 != "mp4", reason="the extra `video` is not installed")
@pytest.mark.parametrize(("query", "video"), VIDEOS)
def test_profile_and_level_of_a_video(query: str, video: Video) -> None:
    assert taken(output_of(f"format=mp4&{query}", settings=VIDEO), ANIMATED_GIF).video == video


def test_a_video_that_is_not_made_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(settings: FastlySettings) -> tuple[list[str], bool]:
        """The warnings, and whether a choice is mp4."""
        parse._planned.cache_clear()
        fastly_output._named_choices.cache_clear()
        order = order_of("format=mp4", settings=settings)
        assert order.plan is not None
        choices = order.plan.output.choices
        return [warning.text for warning in order.warnings], any(choice.format is Format.MP4 for choice in choices)

    assert found(FastlySettings()) == (["mp4 is not allowed here and was ignored"], False)
    with monkeypatch.context() as patch:
        patch.setattr(fastly_output, "WRITABLE", WRITABLE | {Format.MP4})
        assert found(VIDEO) == ([], True)
        patch.setattr(fastly_output, "WRITABLE", WRITABLE - {Format.MP4})
        assert found(VIDEO) == (["mp4 cannot be written by this build and was ignored"], False)
    found(VIDEO)  # nothing of this test stays in the caches


# fmt: off
TRANSLATED = [
    # JPEG  AVIF  WebP  JPEG XL
    (50,    40,   48,   50),
    (75,    55,   72,   74),
    (85,    64,   82,   84),
    (95,    80,   92,   94),
    (65,    49,   62,   64),        # 49.0, 62.4, 64.4
    (80,    60,   77,   79),        # 59.5 goes up
    (90,    72,   87,   89),
    (100,   100,  100,  100),       # and lossless
    (1,     1,    1,    1),         # never 0
]
# fmt: on


@pytest.mark.parametrize(("quality", "avif", "webp", "jxl"), TRANSLATED)
def test_equivalent_quality(quality: int, avif: int, webp: int, jxl: int) -> None:
    assert [equivalent_quality(quality, to) for to in (Format.AVIF, Format.WEBP, Format.JXL)] == [avif, webp, jxl]


def test_a_better_quality_is_never_translated_to_a_lower_one() -> None:
    for to in (Format.AVIF, Format.WEBP, Format.JXL):
        found = [equivalent_quality(quality, to) for quality in range(1, 101)]
        assert found == sorted(found)


# fmt: off
NEGOTIATED = [
    ("auto=webp", True), ("auto=avif", True), ("format=auto", True), ("format=jpg&auto=webp", True),
    ("width=200", False), ("auto=compress", False), ("format=webp", False),
]
# fmt: on


@pytest.mark.parametrize(("query", "negotiated"), NEGOTIATED)
@pytest.mark.parametrize("accept", [BROWSER, OLD, ""])
def test_vary_is_sent_whenever_accept_could_matter(query: str, negotiated: bool, accept: str) -> None:
    assert order_of(query, accept).delivery.negotiated is negotiated
    assert order_of(query, accept, FastlySettings(webp=True)).delivery.negotiated


def test_clients_that_accept_the_same_share_a_plan() -> None:
    assert output_of("auto=webp", "image/webp") == output_of("auto=webp", "text/html, image/webp;q=0.1, */*")
    assert output_of("width=9", BROWSER) == output_of("width=9", OLD)


# fmt: off
AS_IT_IS = [
    # the original is sent if re-encoding makes it larger
    ("quality=80", True), ("optimize=low", True), ("", True), ("foo=bar", True), ("fit=crop&dpr=2", True),
    ("level=4.0", True),
    ("quality=80&width=200", False), ("format=jpg&quality=80", False), ("frame=1", False),
    ("metadata=copyright", False), ("orient=r", False), ("format=auto", False),
]
# fmt: on


@pytest.mark.parametrize(("query", "original"), AS_IT_IS)
def test_when_the_original_is_sent(query: str, original: bool) -> None:
    assert output_of(query).larger_is_original is original


def test_metadata_and_frames() -> None:
    assert output_of("metadata=copyright,c2pa").metadata == {KeepMetadata.COPYRIGHT}
    assert output_of("").metadata == frozenset()
    assert output_of("frame=1").first_frame
    assert not output_of("").first_frame


def test_avif_past_its_area_is_refused_by_name_only() -> None:
    assert output_of("format=avif").choices[0].refuse_over_limit
    assert not output_of("auto=avif", BROWSER).choices[0].refuse_over_limit
    assert not output_of("format=auto", BROWSER).choices[0].refuse_over_limit
    assert not any(choice.refuse_over_limit for choice in output_of("quality=75").choices)
    # A choice that is named, or could be chosen by Accept, has a warning if it is skipped.
    assert output_of("auto=avif", BROWSER).choices[0].warning_if_skipped
    assert output_of("format=jxl").choices[0].warning_if_skipped
    assert output_of("format=webp").choices[0].warning_if_skipped
