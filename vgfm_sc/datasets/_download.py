from __future__ import annotations

import os

import pooch

CACHE_VARIABLE = "VGFM_SC_DATA"
"""Environment variable that names the folder of downloaded files."""


def download(url: str, sha256: str, name: str) -> str:
    """Path of a file that is downloaded once and whose content is the expected one.

    Raises
    ------
    ValueError
        The downloaded file has another sha256.
    OSError
        Of the network, of the server or of the folder; the message says what to do.
    """
    folder = os.environ.get(CACHE_VARIABLE) or str(pooch.os_cache("vgfm_sc"))
    try:
        return pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=name, path=folder)
    except OSError as error:
        error.add_note(
            f"{url} could not be brought to {folder}. Without a network, put a copy there, named {name}; the "
            f"environment variable {CACHE_VARIABLE} names another folder."
        )
        raise
