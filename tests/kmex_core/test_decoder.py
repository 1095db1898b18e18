"""One decoder: whatever a picture is stored as, a folder, a parquet file and an upload give the network its pixels."""

from __future__ import annotations

import base64
import io
import itertools
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from typer.testing import CliRunner

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.commands import app
from kmex_core.data import pictures as images
from kmex_core.data import registry as datasets
from kmex_core.data.dataset import survey
from kmex_core.data.network_input import to_channels, to_pixels
from kmex_core.data.pictures import DECODER, GREY_ALPHA_DECODER, MAX_BYTES, SUFFIXES, read_header, read_picture
from tests.helpers.datasets import write_parquet

SIDE = 32
ORIENTATION = 0x0112


def scene(height: int = 32, width: int = 48) -> np.ndarray:
    """Blue above red, with a light right edge and a ramp: every turn and flip of it differs."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = (200, 40, 40)
    pixels[: height // 2] = (40, 60, 200)
    pixels[:, width * 5 // 6 :] = (230, 230, 230)
    pixels[: height // 4, : width // 4] = np.linspace(0, 255, width // 4).astype(np.uint8)[:, None]
    return pixels


SCENE = scene()
GREY = np.asarray(Image.fromarray(SCENE).convert("L"))
DEEP = np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48)
WHITE = np.full_like(SCENE, 255)
LEFT = np.s_[:, :16]


def file(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer shows of stored pixels, by the EXIF standard's words on where row 0 and column 0 are."""
    steps: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: np.rot90(a, 1),
    }
    return steps[orientation](pixels)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def png(width: int, height: int, bits: int, kind: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of rows without filters, for what Pillow cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    stride = len(rows) // height
    lines = b"".join(b"\0" + rows[at * stride : (at + 1) * stride] for at in range(height))
    body = b"".join(chunk(*one) for one in (*chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body


def tiff(width: int, height: int, bits: int, data: bytes, photometric: int = 1, sample: int = 1) -> bytes:
    """A grey little-endian TIFF of one strip, for what Pillow cannot write."""
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 0),
        (277, 1),
        (278, height),
        (279, len(data)),
        (339, sample),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + data


D50 = np.array([0.9642, 1, 0.8249])
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def matrix_profile(primaries: np.ndarray, gamma: float) -> bytes:
    """An ICC profile (version 2) of a display: what its red, green and blue are in XYZ (D50), and its gamma."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 79
    parts = {b"desc": name, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(D50)}
    parts |= {tag: xyz(primaries[:, at]) for at, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    parts |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return profile(b"mntr", b"RGB ", b"XYZ ", parts)


def ink_profile() -> bytes:
    """An ICC profile of a press whose cyan is a mid-grey (L* = 50), and whose other inks are black."""
    lightness = [
        50 if inks == (1, 0, 0, 0) else 0 if any(inks) else 100 for inks in itertools.product((0, 1), repeat=4)
    ]
    grid = b"".join(bytes([round(value * 2.55), 128, 128]) for value in lightness)
    ramp = bytes(range(256))
    matrix = b"".join(struct.pack(">i", 65536 * (at % 4 == 0)) for at in range(9))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + grid + ramp * 3
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def profile(kind: bytes, space: bytes, between: bytes, parts: dict[bytes, bytes]) -> bytes:
    table, body, place = struct.pack(">I", len(parts)), b"", 128 + 4 + 12 * len(parts)
    for tag, data in parts.items():
        data += b"\0" * (-len(data) % 4)
        table += tag + struct.pack(">II", place + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s12s4s", 128 + len(table) + len(body), b"none", 0x02100000, kind, space, between, bytes(12), b"acsp"
    )
    head += bytes(28) + b"".join(struct.pack(">i", round(value * 65536)) for value in D50)
    return head + bytes(128 - len(head)) + table + body


def from_profile(pixels: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """The same colours in sRGB, by the definitions."""
    linear = np.linalg.solve(SRGB, primaries @ ((pixels.reshape(-1, 3) / 255) ** gamma).T).T.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8).reshape(pixels.shape)


def twelve_bits(values: np.ndarray) -> bytes:
    pairs = values.astype(int).reshape(-1, 2)
    return (
        np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
        .astype(np.uint8)
        .tobytes()
    )


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha.astype(float)[..., None] / 255 if colour.ndim == 3 else alpha.astype(float) / 255
    return np.round(colour * share + 255 * (1 - share)).astype(np.uint8)


def reduced(pixels: np.ndarray, factor: int) -> np.ndarray:
    height, width = (side // factor for side in pixels.shape[:2])
    squares = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return np.round(squares.mean((1, 3))).astype(np.uint8)


# a picture of HEVC-coded pixels, which nothing among the dependencies can write: `SCENE` without its ramp (made once
# with pillow-heif), as it is; stored turned (irot); and as the second, primary picture of a file
HEIC = base64.b85decode(
    b"0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004fZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=IV*mgE"
    b"07O6l0RRC200001p#T8@0000000Aig001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002}X>f9I0002p"
    b"X>en20001XXm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDDnbDP18@KU0|1Z!00RI3"
    b"0{|YNAb|yz>g1-mxCm%4AOHXZ10VnZ0{|gn00967L;=Bbz=;3=025<xY;ta6Y<K_x01W^JfB*mh6lrsCWdHyG00000KmY&$KmY&$C}V74"
    b"Z~y=RFaQ7m0RR91AOHXW0ssI1@Bjb+0{{R2-~a#s0ssI25O8UDX#fBK00RgJ2mk;87-?{AVE_OC000000RRC7fdT^sga7~mF>PdFbN~PW"
    b"B`5)}1~}vAz3sR3Sl{G+`<ws$9TF$yZ2RE1zyF_z^M9!CLk-mnIp5AZvcGTS{-_NeA$4s2ZYz%ia2@8>k@&E;|H$QDXT7-8%m6Eo_Jh-d"
    b"{^Ee~n=(wW|L&wK9^4sLSC@v0U`g#~gt-tABhUWrp1*6TK<?4C0uHL+V`xUhxJ&<XfN`SNqwGNxB)bqa<MI404}$Xl0sgiAyVqv8w^nD@"
    b"IQ%}o$M7e038V)I&Vn4`fRW>u_&cj$qG>tFIW)@NV?F1+@muwT-Gppty}X&__5|iXy19behM;vZ6H?7vf<v~1a>wVJztCe4+)9N4i?2oI"
    b"d2H-{<*j68E~45XEG~-F9JFx?ZsikQTLd^b9obm9sIPG!Mqf#>qVN"
)
HEIC_TURNED = base64.b85decode(
    b"0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0005VZDn*}000000000XXk=`10000000000aA{+700000000000000000000G-+&aV*mgE"
    b"07O6l0ssL300001>;M4(0000000Aig0ssI200R{O0RR9100000Bme*aIB98aW&i*H00062000$fZf0cy000000RRAKc4ILB0000LX>Mj^"
    b"0ssI300IC2MR;ju000004sdC7Z2$lO00031009SSaB^?}008D`aAR)(004Gqc4I>U18@KU0FVFx0000U@BsY%`1k+-4+CHT0RR|40Sp2E"
    b"{{wIU00RJ!0009300RIXx&lC90096hLID8-Z~y=U0FVFx0{{R603M(qfd!W8<fgf}2xu@M00096AOHXZ03l)k0RRR>0l{;?i2wiq6Ju{|"
    b"a&BX6cmM$a4FCp!0000KX>)L8000000000$0000$0000eV{Bn?0000m000010000W00001|NsB+00002|NsBs000020000GaA|mH00000"
    b"0|*ER00009X>xCL0{{R38EJ5BVE_OC000000RRC8fdT^sgoXeB02*m>Wo7^X0000001jhhb7KGk0096200041ZDe6|0003cC;_hqIOFHN"
    b"?YHz;-{gM#oB#bC5+~(s`{1{~|DTBSf2i+64b=-d-_AR-zi;IJs0|(=b!`4_D~|(k9p=`N_^`MC$mL#Vy|~oO04tC7gVTfl;(+m+GEA`l"
    b"?xZUo+!<C^mxhX9N$qEZxeyT}&;IS6ziX&K?$NaZ4yxc|Xhy@hOaF3!aiZ6w>_HSHyAU+v@%$|hg7W_X{<Z$Q*Jil4R%h2Z{64<N@F#T%"
    b"qz4Gjf*j(2k>i*6JF8%#X*tO`G|Jv%J?FjgTlIw9gluTNyqV?p1m-`wxq{n<pmi}5Qq5a}L$-u+$LE{B&|?tXN`(T8uSMp0Z0vsJtz=~`"
    b"qS_!VE{fC~v~db<<r7_71UNVy*;u)#uW=tnUrDi|@Bjb+21R&jW&i+9O#mtY000O80Ra*K0{{R30RRR70000000"
)
HEIC_SECOND = base64.b85decode(
    b"0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<00053ZDn*}000000000XXk=`10000000000aA{+700000000000000000000G-+&aV*mgE"
    b"07O6l0ssL300001&;S7d00000000&M0ssI200HIz0RR9100001DF6TfIB98aW&i*H00062000$fZf0cy000000RRAKc4ILB0000LX>Mj^"
    b"0ssI200IC2Xm(>U000004sdC7Z2$lO00062009MQaB^?}007--aAR)(004Gqc4I>U18@KU0FVFx0000U@BsY%`1k+-4+CHT0RR|40Sp2E"
    b"{{wIU00RJ!0009300RIXx&lC90096hLID8-Z~y=U0FVFx0{{R603M(qfd!W8<fgf}2xu@M00096AOHXZ03l)k0RRR>0l{;?i2wiq6Ju{|"
    b"a&BX6cmM$a4FCp!0000KX>)L8000000000$0000$0000eV{Bn?0000m000010000W00001|NsB+00002|NsBs000020000GaA|mH00000"
    b"0|*ER0000WX>e^}0000000002009Mo0s{qv00ISp0s{qv0003;ZDe6|0000IC;_hqIEnJZ>A$_ejgTBUMtlGO0VOB_uLd~d=e_N>^jP2I"
    b"e*2sM{T&h~<!t-lx4-|Ni1UA_??VmM3pwA;JF>rT<o>7)9wBvX{%$Le18^PY){*$IxBtlHUT3|y)XV@YkM@JpgZ|=x@tZPCu>bC)D<0e#"
    b"R#%sXieO3YXN0*B5hKt3?Vi7Ds6g(~wE_;R;A3b;!?;WTa)5E7*Q4w~6ePP4G~@C7Ef0e7{{jBB{=3&^xVKhk*Esw>zQ^z<bqS;g2+o2W"
    b";((Fkm-suYV4`U`$vHI2-eW!Iz42T1gx!Q}XuZ6d<@N;TKf1Ys+lHWZF%weFTY^KjgmTB{o4?Rw5Zp?I0*kLj=6P)Fe&wxXWiF!HAS^D5"
    b")Eu;N3U1{SU0Vb=I33woxu~ykA4XqEv7+z"
)


@dataclass(frozen=True)
class Case:
    """A file, the pixels that it holds, and how far from them a lossy format may be (mean of the differences)."""

    name: str
    suffix: str
    content: bytes
    pixels: np.ndarray
    tolerance: float = 0


ALPHA = np.full(GREY.shape, 255, np.uint8)
ALPHA[LEFT] = 0
ALPHA[:, 16:24] = 128
PALETTE = Image.fromarray(SCENE).quantize(64)
CLEAR_ENTRY = int(np.asarray(PALETTE)[20, 0])
IN_PALETTE = np.asarray(PALETTE.convert("RGB"))
CLEAR = np.where((SCENE == (200, 40, 40)).all(-1)[..., None], WHITE, SCENE)
PLAIN = SCENE.copy()
PLAIN[:8, :12] = (40, 60, 200)
LARGE, WIDE = np.repeat(np.repeat(SCENE, 66, 0), 44, 1), np.repeat(np.repeat(SCENE, 2, 0), 60, 1)
# cyan of 0, 50 and 100% is L* = 100, 75 and 50
INKED = np.select([ALPHA == 0, ALPHA == 255], [255, 119], 185).astype(np.uint8)
SIXTEEN = np.random.default_rng(0).integers(0, 65536, (32, 48, 3)).astype(np.uint16)
CMYK = Image.fromarray(SCENE).convert("CMYK")
LAB_PICTURE = ImageCms.profileToProfile(
    Image.fromarray(SCENE), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
)
assert LAB_PICTURE is not None
FLOAT = np.linspace(0, 1, 32 * 48, dtype=np.float32).reshape(32, 48)
EIGHT = np.round(DEEP / 257).astype(np.uint8)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:'
    b'Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    b' tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)

GREY_CASES = [
    Case("1 bit", "png", file(Image.fromarray(GREY > 90), "PNG"), ((GREY > 90) * 255).astype(np.uint8)),
    Case("8 bits", "png", file(GREY, "PNG"), GREY),
    Case("grey and alpha", "png", file(Image.fromarray(np.stack([GREY, ALPHA], -1)), "PNG"),
         over_white(GREY, ALPHA), 0.5),
    Case("16 bits and alpha", "png",
         png(48, 32, 16, 4, np.stack([DEEP, ALPHA.astype(np.uint16) * 257], -1).astype(">u2").tobytes()),
         over_white((DEEP >> 8).astype(np.uint8), ALPHA), 0.5),
    Case("16 bits and alpha that hides nothing", "png",
         png(48, 32, 16, 4, np.stack([DEEP, np.full_like(DEEP, 65535)], -1).astype(">u2").tobytes()),
         (DEEP >> 8).astype(np.uint8)),
    Case("grey with a clear value", "png", file(GREY, "PNG", transparency=int(GREY[20, 0])),
         np.where(GREY[20, 0] == GREY, 255, GREY).astype(np.uint8)),
    Case("16 bits", "png", file(DEEP, "PNG"), EIGHT),
    Case("16 bits with a clear value", "png",
         png(48, 32, 16, 0, DEEP.astype(">u2").tobytes(), (b"tRNS", struct.pack(">H", int(DEEP[3, 3])))),
         np.where(DEEP[3, 3] == DEEP, 255, EIGHT).astype(np.uint8)),
    Case("16 bits, little-endian", "tif", file(DEEP, "TIFF"), EIGHT),
    Case("16 bits, big-endian", "tiff",
         file(Image.frombytes("I;16B", (48, 32), DEEP.astype(">u2").tobytes()), "TIFF"), EIGHT),
    Case("16 bits, white is zero", "tif", tiff(48, 32, 16, DEEP.tobytes(), photometric=0), 255 - EIGHT),
    Case("16 bits with a sign", "tif", tiff(48, 32, 16, (DEEP // 2).astype("<i2").tobytes(), sample=2),
         np.round(DEEP // 2 / 257).astype(np.uint8)),
    Case("12 bits", "tif", tiff(48, 32, 12, twelve_bits(DEEP >> 4)),
         np.round((DEEP >> 4) / 4095 * 255).astype(np.uint8)),
    Case("32 bits", "tif", file(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), EIGHT),
    Case("float", "tif", file(FLOAT, "TIFF"), np.round(FLOAT * 255).astype(np.uint8)),
    Case("float, white is zero", "tif", tiff(48, 32, 32, FLOAT.tobytes(), 0, 3),
         255 - np.round(FLOAT * 255).astype(np.uint8)),
    Case("grey JPEG", "jpg", file(GREY, "JPEG", quality=95), GREY, 3),
    Case("grey JPEG, turned", "jfif", file(GREY, "JPEG", quality=95, exif=exif(6)), turned(GREY, 6), 3),
    Case("grey BMP", "bmp", file(GREY, "BMP"), GREY),
]  # fmt: skip
COLOUR_CASES = [
    Case("PNG", "png", file(SCENE, "PNG"), SCENE),
    Case("a PNG named JPEG", "jpeg", file(SCENE, "PNG"), SCENE),
    Case("BMP", "bmp", file(SCENE, "BMP"), SCENE),
    Case("TIFF, LZW", "tif", file(SCENE, "TIFF", compression="tiff_lzw"), SCENE),
    Case("TIFF, JPEG inside", "tif", file(SCENE, "TIFF", compression="jpeg", quality=95), SCENE, 4),
    Case("lossless WebP", "webp", file(SCENE, "WEBP", lossless=True), SCENE),
    Case("lossy WebP", "webp", file(SCENE, "WEBP", quality=95), SCENE, 4),
    Case("JPEG", "jpg", file(SCENE, "JPEG", quality=95, subsampling=0), SCENE, 3),
    Case("progressive JPEG", "jpeg", file(SCENE, "JPEG", quality=95, progressive=True), SCENE, 4),
    Case("MPO", "jpg",
         file(Image.fromarray(SCENE), "MPO", save_all=True, append_images=[Image.fromarray(WHITE[:8, :8])], quality=95),
         SCENE, 4),
    Case("GIF", "gif", file(PALETTE, "GIF"), IN_PALETTE),
    Case("GIF with a palette of greys", "gif", file(GREY, "GIF"), np.dstack([GREY] * 3)),
    Case("GIF with a clear colour", "GIF", file(PALETTE, "GIF", transparency=CLEAR_ENTRY), CLEAR, 1),
    Case("AVIF", "avif", file(SCENE, "AVIF", quality=95), SCENE, 4),
    Case("AVIF, turned", "avif", file(SCENE, "AVIF", quality=95, exif=exif(6)), turned(SCENE, 6), 4),
    Case("HEIC", "heic", HEIC, PLAIN, 4),
    Case("HEIC, turned", "HEIC", HEIC_TURNED, turned(PLAIN, 6), 4),
    Case("HEIC, its primary picture", "heif", HEIC_SECOND, PLAIN, 4),
    Case("palette", "png", file(PALETTE, "PNG"), IN_PALETTE),
    Case("palette with a clear entry", "png", file(PALETTE, "PNG", transparency=CLEAR_ENTRY), CLEAR, 1),
    Case("a clear colour", "png", file(SCENE, "PNG", transparency=(200, 40, 40)), CLEAR),
    Case("alpha", "png", file(np.dstack([SCENE, ALPHA]), "PNG"), over_white(SCENE, ALPHA), 0.5),
    Case("alpha in WebP", "webp", file(np.dstack([SCENE, ALPHA]), "WEBP", lossless=True),
         over_white(SCENE, ALPHA), 0.5),
    Case("16 bits of colour, PNG", "png", png(48, 32, 16, 2, SIXTEEN.astype(">u2").tobytes()),
         (SIXTEEN >> 8).astype(np.uint8)),
    Case("CMYK TIFF", "tif", file(CMYK, "TIFF"), SCENE),
    Case("CMYK JPEG", "jpg", file(CMYK, "JPEG", quality=95), SCENE, 6),
    Case("CMYK with a profile", "tif",
         file(Image.fromarray(np.stack([ALPHA, *[np.zeros_like(ALPHA)] * 3], -1), "CMYK"), "TIFF",
              icc_profile=ink_profile()), np.dstack([INKED] * 3), 1),
    Case("YCbCr TIFF", "tif", file(Image.fromarray(SCENE).convert("YCbCr"), "TIFF"), SCENE, 1.5),
    Case("LAB TIFF", "tif", file(LAB_PICTURE, "TIFF"), SCENE, 2),
    *(Case(f"JPEG, orientation {turn}", "jpg", file(SCENE, "JPEG", quality=95, subsampling=0, exif=exif(turn)),
           turned(SCENE, turn), 3) for turn in range(1, 9)),
    Case("PNG, turned", "png", file(SCENE, "PNG", exif=exif(8)), turned(SCENE, 8)),
    Case("WebP, turned", "webp", file(SCENE, "WEBP", lossless=True, exif=exif(3)), turned(SCENE, 3)),
    Case("TIFF, turned", "tif", file(SCENE, "TIFF", tiffinfo={ORIENTATION: 6}), turned(SCENE, 6)),
    Case("JPEG, turned by XMP", "jpg", file(SCENE, "JPEG", quality=95, subsampling=0, xmp=XMP), turned(SCENE, 6), 3),
    Case("palette, alpha, turned", "png", file(PALETTE, "PNG", transparency=CLEAR_ENTRY, exif=exif(5)),
         turned(CLEAR, 5), 1),
    Case("Display P3", "png", file(SCENE, "PNG", icc_profile=matrix_profile(P3, 2.2)), from_profile(SCENE, P3, 2.2), 1),
    Case("Display P3, turned JPEG", "jpg",
         file(SCENE, "JPEG", quality=95, subsampling=0, icc_profile=matrix_profile(P3, 2.2), exif=exif(6)),
         turned(from_profile(SCENE, P3, 2.2), 6), 4),
    Case("sRGB profile", "png",
         file(SCENE, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), SCENE),
    Case("damaged profile", "png", file(SCENE, "PNG", icc_profile=b"no profile"), SCENE),
    Case("large PNG", "png", file(LARGE, "PNG"), reduced(LARGE, 2)),
    Case("large JPEG, turned", "jpg", file(LARGE, "JPEG", quality=95, exif=exif(6)), turned(reduced(LARGE, 2), 6), 4),
    Case("wide JPEG", "jpg", file(WIDE, "JPEG", quality=95), WIDE, 4),
]  # fmt: skip
CASES = GREY_CASES + COLOUR_CASES


def written(root: Path, cases: list[Case]) -> tuple[datasets.ImageDataset, datasets.ImageDataset]:
    """All files as a folder and as a parquet file, each in training and test split, in the same order."""
    for split in ("train", "test"):
        for at, case in enumerate(cases):
            place = root / "folder" / split / "ab"[at % 2] / f"{at:02}.{case.suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(case.content)
        write_parquet(
            root / "parquet" / f"{split}.parquet",
            [case.content for case in cases],
            [at % 2 for at in range(len(cases))],
            ["a", "b"],
        )
    folder, parquet = (datasets.load(DatasetSpec(str(root / kind), "", SIDE)) for kind in ("folder", "parquet"))
    return folder, parquet


@pytest.mark.parametrize("cases", [GREY_CASES, COLOUR_CASES, CASES], ids=["grey", "colour", "mixed"])
def test_every_way_of_reading_gives_the_network_the_same_right_pixels(tmp_path: Path, cases: list[Case]) -> None:
    assert len(CASES) >= 60
    folder, parquet = written(tmp_path, cases)
    assert folder.channels == parquet.channels == (1 if cases is GREY_CASES else 3)
    by_class = sorted(range(len(cases)), key=lambda at: (at % 2, at))  # the order of a folder
    for at, case in enumerate(cases):
        upload = to_pixels([read_picture(case.content).pixels], folder.preprocessing)
        named = to_pixels(
            [read_picture(tmp_path / "folder/train" / "ab"[at % 2] / f"{at:02}.{case.suffix}").pixels],
            folder.preprocessing,
        )
        in_folder = folder.pixels("train", [by_class.index(at)])
        assert torch.equal(upload, in_folder), case.name
        assert torch.equal(upload, parquet.pixels("train", [at])), case.name
        assert torch.equal(upload, named), case.name
        right = to_pixels([case.pixels], folder.preprocessing)
        assert (upload.int() - right.int()).abs().float().mean() <= case.tolerance, case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_file_is_read_as(case: Case) -> None:
    pixels = read_picture(case.content).pixels
    assert pixels.shape == case.pixels.shape
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - case.pixels).mean() <= case.tolerance
    if case.tolerance == 0:
        np.testing.assert_array_equal(pixels, case.pixels)
    header = read_header(case.content)
    assert header.grey == (case in GREY_CASES) == (pixels.ndim == 2)
    height, width = pixels.shape[:2]
    assert header.shape[0] * width == header.shape[1] * height  # turned, but not reduced


def test_one_scale_holds_for_all_deep_pictures_of_a_data_set(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name, value in (("dark", 0.1), ("light", 0.8)):
            for at, kind in enumerate((np.float32, np.int32, np.uint16)):
                deep = np.full((8, 8), value * (1 if at == 0 else 65535), kind)
                (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
                (tmp_path / split / name / f"{at}.tif").write_bytes(file(deep, "TIFF"))
    data = datasets.load(DatasetSpec(str(tmp_path)))
    values = data.pixels("train", range(6))[:, 0, 4, 4].tolist()
    assert data.channels == 1
    assert values == [26, 25, 25, 204, 204, 204]


@pytest.mark.parametrize(
    "content",
    [
        file(np.array([[0, 70000]], np.int32), "TIFF"),
        tiff(2, 1, 16, struct.pack("<2h", -5, 100), sample=2),
        file(np.array([[0.0, 200.0]], np.float32), "TIFF"),
        file(np.array([[0.0, np.nan]], np.float32), "TIFF"),
    ],
    ids=["32 bits", "negative", "floats to 255", "not a number"],
)
def test_values_without_a_scale_are_refused_in_words(content: bytes) -> None:
    with pytest.raises(InputError, match=r"'x.tif' has (grey|float) values from .*; expected 0"):
        read_picture(content, "'x.tif'")


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "ICO", "JPEG2000", "PCX"])
def test_no_other_decoder_is_started(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file(SCENE, kind)
    monkeypatch.setattr(subprocess, "Popen", lambda *_: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "check_call", lambda *_: pytest.fail("a program was started"))
    place = tmp_path / "train" / "a" / "0.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    for source in (content, place):
        with pytest.raises(InputError, match="not a readable picture"):
            read_picture(source)
    with pytest.raises(InputError, match="not a readable picture"):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for place in (tmp_path / "pipe.png", Path("/dev/random"), tmp_path):
        with pytest.raises(InputError, match="not a regular file"):
            read_picture(place)
    with pytest.raises(InputError, match="nowhere.png cannot be read: No such file"):
        read_picture(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_picture(Path("a\0b.png"))
    asked = ["explain", "--model", "digits", "--image", "/dev/random", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "/dev/random is not a regular file" in result.stderr


def test_the_size_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "heavy.png", "wb") as heavy:
        heavy.truncate(MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(InputError, match="the limit is 64 MB"):
        read_picture(tmp_path / "heavy.png")


def test_too_many_pixels_are_refused_in_data_sets_too(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "0.png").write_bytes(png(20_000, 20_000, 8, 2, b""[:0] + b"\0" * 20_000))
    with pytest.raises(InputError, match="the limit is 40 million"):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_damaged_exif_data_does_not_spoil_a_picture() -> None:
    content = bytearray(file(SCENE, "JPEG", quality=95, exif=exif(6)))
    at = content.index(b"Exif\0\0") + 6
    content[at : at + 8] = b"\xff" * 8
    assert read_picture(bytes(content)).pixels.shape == SCENE.shape


def test_a_bigger_picture_is_as_sharp_as_a_network_can_see() -> None:
    picture = read_picture(file(LARGE, "JPEG"))
    assert min(picture.pixels.shape[:2]) >= images.ENOUGH
    assert "1/2" in picture.notes[0]
    assert read_picture(file(WIDE, "JPEG")).notes == ()


def test_suffixes_name_formats_that_can_be_read() -> None:
    known = Image.registered_extensions()
    assert {known[f".{suffix}"] for suffix in set(SUFFIXES) - {"dcm", "dicom"}} <= {*images.FORMATS, "MPO"}
    assert {"jfif", "gif", "avif", "heic"} <= set(SUFFIXES)


def test_the_decoder_is_part_of_what_embeddings_are_kept_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, parquet = written(tmp_path, COLOUR_CASES[:4])
    digits = datasets.load(DatasetSpec("digits"))
    for module in list(sys.modules.values()):
        if getattr(module, "DECODER", None) == DECODER and module.__name__.startswith("kmex_core"):
            monkeypatch.setattr(module, "DECODER", "another")
    for data in (folder, parquet):
        assert datasets.load(DatasetSpec(data.name, "", SIDE)).fingerprint != data.fingerprint
    assert datasets.load(DatasetSpec("digits")).fingerprint == digits.fingerprint


def test_only_data_sets_of_files_that_are_read_otherwise_than_before_have_another_decoder() -> None:
    now = {case.name: read_header(case.content).decoder for case in CASES}
    assert {name for name, decoder in now.items() if decoder != DECODER} == {
        "16 bits and alpha",
        "16 bits and alpha that hides nothing",
    }
    files = [case.content for case in CASES]
    assert survey(files, "")[2] == GREY_ALPHA_DECODER
    assert survey([case.content for case in CASES if "and alpha" not in case.name], "")[2] == DECODER


def test_turns_are_pillows() -> None:
    for turn in range(2, 9):
        image = Image.fromarray(SCENE)
        image.getexif()[ORIENTATION] = turn
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), turned(SCENE, turn))


def test_grey_and_colour_are_what_they_are_stored_as() -> None:
    grey_as_colour = read_picture(file(np.dstack([GREY] * 3), "PNG")).pixels
    np.testing.assert_array_equal(to_channels(grey_as_colour, 1)[..., 0], GREY)
    np.testing.assert_array_equal(to_channels(read_picture(file(GREY, "PNG")).pixels, 3), grey_as_colour)
