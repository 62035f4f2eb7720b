"""What torch >= 2.5 calls at the end of `import torch`: the way to the import hook where start-up files do not run.

It stands apart from the import hook because of its name. pip and uv remove files in the order of their names: the hook,
the metadata, the start-up file, the package, this file. If they are killed after the first of them, the metadata still
tells torch to call us, and a module that is not there makes `import torch` fail. The name never changes.
"""


def torch_backend() -> None:
    """Switch on what the start-up file would have; without the hook, there is nothing to switch on."""
    try:
        import _rtx50_autoload_importlib_bootstrap as hook  # noqa: PLC0415
    except ImportError:
        return
    hook.torch_backend()
