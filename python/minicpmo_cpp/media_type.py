"""What a file is, by its first bytes and then by the ending of its name."""

from __future__ import annotations

# (offset, bytes, container)
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (8, b"WEBP", "image"),
    (8, b"AVI ", "avi"),
    (8, b"WAVE", "wav"),
    (0, b"RF64", "wav"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b".snd", "au"),
    (0, b"caff", "caf"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"FLV\x01", "flv"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x89PNG", "image"),
    (0, b"\xff\xd8\xff", "image"),
    (0, b"GIF8", "image"),
    (0, b"BM", "image"),
    (0, b"II*\x00", "image"),
    (0, b"MM\x00*", "image"),
)
# Containers that libsndfile reads; the others need FFmpeg.
SOUND_FILES = frozenset({"wav", "w64", "aiff", "au", "caf", "flac", "ogg", "mp3"})
FFMPEG_FILES = frozenset({"mp4", "matroska", "avi", "flv", "asf", "mpeg", "aac", "amr"})
_FILM_OR_SOUND = frozenset({"ogg", "mp4", "matroska", "asf"})  # the name tells which
_PICTURE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1"})
_SOUND_BRANDS = frozenset({b"M4A ", b"M4B ", b"F4A "})

_SOUND_NAMES = frozenset(
    ".aac .aif .aiff .amr .au .caf .flac .m4a .m4b .mka .mp2 .mp3 .oga .ogg .opus .wav .weba .wma".split()
)
_FILM_NAMES = frozenset(".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())


def container(head: bytes) -> str | None:
    """The container that the first bytes show: one of SOUND_FILES, FFMPEG_FILES, "image" or None."""
    if head[4:8] == b"ftyp":
        return "image" if head[8:12] in _PICTURE_BRANDS else "mp4"
    for at, magic, name in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # the frame header of MPEG audio
        return "aac" if head[1] & 0x06 == 0 else "mp3"  # layer 0 is ADTS
    return None


def kind(head: bytes, ending: str) -> str:
    """ "image", "audio" or "video". What shows nothing may be a picture: TGA has no magic bytes."""
    found = container(head)
    by_name = "audio" if ending in _SOUND_NAMES else "video" if ending in _FILM_NAMES else None
    if found == "mp4" and head[8:12] in _SOUND_BRANDS:
        return "audio"
    if found in _FILM_OR_SOUND and by_name is not None:
        return by_name
    if found == "image" or found is None:
        return found or by_name or "image"
    return "audio" if found in SOUND_FILES or found in ("aac", "amr") else "video"
