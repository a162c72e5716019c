"""Files of configurations as people have them: with marks of byte order, of other encodings, from pipes."""

import codecs
import os

from ._explain import ConfigurationError, one_line

# A thousand times a preset. What is longer is no configuration, and `/dev/zero` has no end.
_MOST = 2**20
# Of a path no letter can be left out, if it is one.
_PATH = 1024

# The longer marks first: that of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def configuration_text(path: str | os.PathLike) -> str:
    """The text of a file, a pipe or a terminal, in UTF-8 or with a mark that says what else it is in.

    Editors of Windows write such marks, and PowerShell's redirection UTF-16. Of an encoding without a mark nobody
    knows what its bytes mean.

    **Raises:** `ConfigurationError` for what cannot be read, is too long or is in another encoding.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {one_line(os.fspath(path), _PATH)}") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(f"{one_line(os.fspath(path), _PATH)} cannot be read: {reason.lower()}") from None
    if len(data) > _MOST:
        raise ConfigurationError(
            f"{one_line(os.fspath(path), _PATH)} is longer than {_MOST // 2**10} kB: it is no configuration"
        )
    return decoded(data, path)


def decoded(data: bytes, path: str | os.PathLike) -> str:
    """Bytes of a file as text; `path` is its name in messages.

    **Raises:** `ConfigurationError` for bytes of another encoding.
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "utf-8"))
    name = one_line(os.fspath(path), _PATH)
    if not mark and b"\0" in data:
        raise ConfigurationError(
            f"{name} holds bytes that are no text, or is in UTF-16 without a byte-order mark: save it as UTF-8"
        )
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        if mark:
            raise ConfigurationError(f"{name} begins like a file in {encoding.upper()} and is none") from None
        line, column = data[: error.start].count(b"\n") + 1, error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigurationError(
            f"{name} is not in UTF-8: the byte 0x{data[error.start]:02x} in line {line}, column {column} is of another "
            "encoding, such as Latin-1; save it as UTF-8 in your editor, or with: iconv -f latin1 -t utf-8"
        ) from None
    return text.replace("\r\n", "\n")
