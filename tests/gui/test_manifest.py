"""The manifest is valid, is found by napari, and everything it names is there."""

from importlib import import_module

import pytest
from npe2 import PluginManager, PluginManifest


@pytest.fixture(scope="module")
def manifest(repo):
    return PluginManifest.from_file(repo / "fibtomo" / "napari.yaml")


def test_installed_package_offers_it(manifest):
    found = PluginManifest.from_distribution("fibtomo")
    assert found.contributions == manifest.contributions
    found.validate_imports()


def test_every_command_is_callable(manifest):
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name))


def test_samples_are_samples_of_the_phantom(manifest):
    from fibtomo import phantom

    keys = [sample.key for sample in manifest.contributions.sample_data]
    assert len(keys) >= 2
    assert set(keys) <= set(phantom.samples())


@pytest.mark.parametrize("name", ["folder", "folder/slice.tif", "stack.mrc", "run.json", "TEXT.TIFF"])
def test_reader_is_offered(name, tmp_path, manifest):
    path = tmp_path / name
    if "." in path.name:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    else:
        path.mkdir()
    manager = PluginManager()
    manager.register(manifest)
    assert [r.command for r in manager.iter_compatible_readers([str(path)])] == ["fibtomo.read"]
