"""Stands in for the package's build backend: pip asks for metadata before it hands over a source package, and would fetch and run
what makes it. Nothing of the package is built or run here.
"""

import pathlib


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    # pip runs this in the unpacked package, whose name and version begin its PKG-INFO.
    lines = pathlib.Path("PKG-INFO").read_text(encoding="utf-8").splitlines()
    said = dict(line.split(": ", 1) for line in lines[:3])
    directory = f"{said['Name']}-{said['Version']}.dist-info"
    info = pathlib.Path(metadata_directory, directory)
    info.mkdir()
    text = f"Metadata-Version: 2.1\nName: {said['Name']}\nVersion: {said['Version']}\n"
    info.joinpath("METADATA").write_text(text, encoding="utf-8")
    return directory
