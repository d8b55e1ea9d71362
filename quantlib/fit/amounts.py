"""Bytes and speeds as sentences have them."""

from quantlib.fit.advice import Option


def gb(nbytes: float) -> str:
    """Bytes in decimal gigabytes, as files are listed: 4.92 GB."""
    value = nbytes / 1e9
    if value < 0.01:
        return f"{nbytes / 1e6:.2g} MB"
    return f"{value:.0f} GB" if value >= 100 else f"{value:.3g} GB" if value >= 1 else f"{value:.2g} GB"


def rate(option: Option) -> str:
    """Tokens a second as the end of a sentence: ", about 38 tokens a second"; "" where it is not known."""
    if option.speed is None:
        return ""
    about = f"{option.speed.about:.2g}" if option.speed.about < 10 else f"{option.speed.about:.0f}"
    return f", about {about} {'token' if about == '1' else 'tokens'} a second"
