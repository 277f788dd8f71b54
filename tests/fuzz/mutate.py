"""Small changes to bytes, JSON texts and zips, as chance has it or as someone would make them on purpose."""

import copy
import io
import json
import random
import struct
import warnings
import zipfile

import google_crc32c
from numcodecs import blosc

NUMBERS = [0, -1, 1, 2, 255, 2**31, 2**53 + 1, 2**63, 10**30, -(10**12), 0.5, 1e308, -1e-300]
TEXTS = [
    "",
    "..",
    "../x",
    "/etc/passwd",
    "a\0b",
    "\x1b[2J",
    "é",
    "x" * 5000,
    "zarr.json",
    "f8",
    "str",
    "info/x",
    "Fe",
    "Xx",
]
RAW = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "1" * 5000,
    '"\\ud800"',
    "[" * 500 + "]" * 500,
    '{"a": 1, "a": 2}',
    "tru",
    "{",
]
"""What json.dumps never writes."""

_MARK = "@@raw@@"


def changed_bytes(data: bytes, draw: random.Random) -> bytes:
    """Flip, overwrite, insert, remove, repeat or cut off, once or a few times."""
    out = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        start = draw.randrange(len(out) or 1)
        length = min(draw.choice([1, 1, 2, 4, 8, 64, 1000]), max(1, len(out) - start))
        stop = start + length
        match draw.randrange(7):
            case 0 | 1 if out:
                out[start] ^= 1 << draw.randrange(8)
            case 2:
                out[start:stop] = draw.randbytes(length)
            case 3:
                out[start:start] = draw.randbytes(length)
            case 4:
                del out[start:stop]
            case 5:
                out[start:stop] = draw.choice([b"\0", b"\xff"]) * length
            case _:
                if draw.random() < 0.3:
                    del out[start:]
                else:
                    other = draw.randrange(len(out) or 1)
                    out[start:stop] = out[other : other + length]
    return bytes(out)


def changed_json(data: bytes, draw: random.Random) -> bytes:
    """Change the value that a JSON text states in one or a few places, or state a key twice."""
    value = json.loads(data)
    raw: list[str] = []
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        value = _changed(value, draw, raw)
    text = json.dumps(value)
    for what in raw:
        text = text.replace(f'"{_MARK}"', what, 1)
    if draw.random() < 0.05:
        text = _key_twice(text, draw)
    return text.encode()


def _changed(value, draw, raw):
    """Return the value with one node changed."""
    if not value:
        return value
    container, key = _place(value, draw)
    match draw.randrange(10):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        case 1:
            container[draw.choice([f"{key}x", key.upper(), ""])] = container.pop(key)
        case 2:
            other, place = _place(value, draw)
            container[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(container[key])
        case 3:
            container[key] = draw.choice([None, True, [], {}, [[]], {"a": 1}])
        case 4:
            container[key] = _MARK
            raw.append(draw.choice(RAW))
        case 5:
            container[key] = draw.choice(NUMBERS)
        case 6:
            container[key] = draw.choice(TEXTS)
        case _:
            container[key] = _near(container[key], draw)
    return value


def _place(container, draw):
    """Return a container and a key of it, somewhere below this one: every field has its chance, long lists no more than others."""
    while True:
        key = draw.choice(list(container)) if isinstance(container, dict) else draw.randrange(len(container))
        if not isinstance(container[key], dict | list) or not container[key] or draw.random() < 0.2:
            return container, key
        container = container[key]


def _near(value, draw):
    """Return another value of the same type, close to this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw.choice([-1, 1, 2, 1000])
    if isinstance(value, float):
        return value * draw.choice([-1, 1 + 1e-3, 2, 1000])
    if isinstance(value, str) and value:
        place = draw.randrange(len(value))
        return value[:place] + draw.choice(["", "a", "0", "/", "é"]) + value[place + 1 :]
    if isinstance(value, list):
        return draw.sample(value, len(value))
    return value


def _key_twice(text, draw):
    places = [place for place in range(len(text)) if text.startswith('": ', place)]
    stop = draw.choice(places) + 1
    key = text[text.rindex('"', 0, stop - 1) : stop]
    place = text.index(key)
    return f"{text[:place]}{key}: {draw.choice(['0', 'null', '[]'])}, {text[place:]}"


def changed_zip(data: bytes, draw: random.Random) -> bytes:
    """Change a shard as its publisher could: all checksums are right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    how = draw.randrange(10)
    place = draw.randrange(len(entries))
    name, content = entries[place]
    if how < 4:
        places = [i for i, (name, _) in enumerate(entries) if name.endswith("zarr.json")]
        place = draw.choice(places)
        entries[place] = entries[place][0], changed_json(entries[place][1], draw)
    elif how < 6:
        place = draw.choice([i for i, (name, _) in enumerate(entries) if not name.endswith("zarr.json")])
        entries[place] = entries[place][0], _changed_chunk(entries[place][1], draw)
    elif how == 6:
        other = draw.randrange(len(entries))
        entries[place], entries[other] = (name, entries[other][1]), (entries[other][0], content)
    elif how == 7:
        del entries[place]
    elif how == 8:
        odd = [name, f"{name}/x", f"../{name}", name.replace("/", "//"), name.replace("/c/", "/C/"), "info/é/c/0"]
        entries.append((draw.choice(odd), draw.choice([content, b"", b"{}"])))
    else:
        return _changed_structure(entries, draw)
    return _zipped(entries)


def _changed_chunk(chunk, draw):
    frame = chunk[:-4]
    match draw.randrange(4):
        case 0:
            frame = changed_bytes(frame, draw)
        case 1:
            frame = frame[:4] + struct.pack("<I", draw.choice([0, 1, 2**20, 2**31 - 1, 2**32 - 1])) + frame[8:]
        case 2:
            frame = frame[:12] + struct.pack("<I", draw.choice([0, 16, len(frame) + 1, 2**32 - 1])) + frame[16:]
        case _:
            raw = bytearray(blosc.decompress(frame))
            raw[draw.randrange(len(raw) or 1) :][:1] = b"\x7f"
            if raw:
                raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
            frame = blosc.compress(bytes(raw), b"zstd", 3, blosc.NOSHUFFLE, typesize=max(1, frame[3]))
    return frame + google_crc32c.value(frame).to_bytes(4, "little")


def _changed_structure(entries, draw):
    """Compress entries, put something before, between or behind them, let two overlap, or change a header alone."""
    how = draw.randrange(6)
    data = bytearray(_zipped(entries, zipfile.ZIP_DEFLATED if how == 0 else zipfile.ZIP_STORED))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos, directory = archive.infolist(), archive.start_dir
    info = draw.choice(infos)
    record = data.index(b"PK\1\2", directory)
    for _ in range(draw.randrange(len(infos))):
        record = data.index(b"PK\1\2", record + 4)
    if how == 1:
        data[0:0] = draw.randbytes(20)
    elif how == 2:
        data[record + 42 : record + 46] = struct.pack("<I", draw.choice(infos).header_offset)
    elif how == 3:
        place = info.header_offset + draw.randrange(30)
        data[place] ^= 1 << draw.randrange(8)
    elif how == 4:
        data[record + draw.randrange(46)] ^= 1 << draw.randrange(8)
    elif how == 5:
        data[-2:] = struct.pack("<H", 7) + b"comment"
    return bytes(data)


def _zipped(entries, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings(action="ignore"):
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
    return file.getvalue()
