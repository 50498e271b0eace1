"""The environment in which CUDA's libraries are found: in the nvidia packages of this Python."""
import importlib.util
import os
import pathlib


def folders():
    """Folders of libraries of the nvidia packages."""
    spec = importlib.util.find_spec("nvidia")
    roots = map(pathlib.Path, spec.submodule_search_locations) if spec else []
    return sorted({str(library.parent) for root in roots for library in root.glob("*/lib/*.so*")})


def environment(base):
    """`base` with them, behind what the caller has set."""
    paths = [base.get("LD_LIBRARY_PATH"), *folders()]
    return {**base, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}
