"""Where the texts, models and measurements lie that come with this project."""

from pathlib import Path


def _assets() -> Path:
    """The folder of texts, models and measurements: in the app where that is installed, else beside this package."""
    beside = Path(__file__).parents[2]
    installed = beside / "quantlib_app" / "assets"
    return installed if installed.is_dir() else beside / "assets"


ASSETS = _assets()
