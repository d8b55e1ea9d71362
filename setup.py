"""What pyproject.toml cannot say: the app goes into a package of its own, with its pages and assets, as they lie here.

`quantlib view` finds it there. Nothing imports that package: the app puts its own folder on the path.
"""

from setuptools import find_namespace_packages, setup

APP = "quantlib_app"

setup(
    packages=[
        *find_namespace_packages(include=["quantlib*"]),
        APP,
        *(f"{APP}.{name}" for name in find_namespace_packages(include=["pages*"])),
    ],
    package_dir={APP: "."},
    package_data={
        "quantlib": ["py.typed", "fit/*.json"],
        APP: [".streamlit/config.toml", "assets/**/*"],
    },
)
