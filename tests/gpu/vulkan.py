"""The environment in which the program finds the GPU through Vulkan: the first of these attempts that shows one.

Vulkan's loader may be missing, and its libraries; the bundle has them. A driver in a container may be where no loader looks.
"""
import json
import os
import pathlib
import subprocess

# Where NVIDIA's containers and packages leave the description of their driver.
PLACES = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/nvidia/share/vulkan/icd.d",
          "/usr/local/share/vulkan/icd.d", "/opt/nvidia/share/vulkan/icd.d"]
# What it names: with X's libraries, and without.
DRIVERS = ["libGLX_nvidia.so.0", "libEGL_nvidia.so.0"]
FOLDERS = ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"]


def attempts(bundle):
    """Names of environments, and what each adds: as it is; with the bundle's loader; with each description of a driver."""
    loader = str(bundle / "program" / "vulkan")
    yield "as it is", {}
    yield "the bundle's loader", {"LD_LIBRARY_PATH": loader}
    found = [str(path) for place in PLACES for path in sorted(pathlib.Path(place).glob("*nvidia*.json"))]
    written = []
    for name in DRIVERS:
        for folder in FOLDERS:
            library = pathlib.Path(folder) / name
            if library.exists():
                path = bundle / "program" / f"{library.parent.name}-{name}.json"
                icd = {"library_path": str(library), "api_version": "1.4.312"}
                path.write_text(json.dumps({"file_format_version": "1.0.1", "ICD": icd}))
                written.append(str(path))
    for path in found + written:
        files = {"VK_DRIVER_FILES": path, "VK_ICD_FILENAMES": path}
        libraries = os.pathsep.join([loader, *FOLDERS[:2]])
        yield f"the bundle's loader and {path}", {"LD_LIBRARY_PATH": libraries, **files}


def environment(bundle, base, rehearse):
    """The environment, and what the report says of its adapters."""
    tried, command = {}, [bundle / "program" / "fusemix", "devices", "--json"]
    for name, extra in attempts(bundle):
        joined = os.pathsep.join(filter(None, [base.get("LD_LIBRARY_PATH"), extra.get("LD_LIBRARY_PATH")]))
        made = {**base, **extra, "LD_LIBRARY_PATH": joined}
        done = subprocess.run(command, env=made, capture_output=True, text=True)
        if done.returncode:
            tried[name] = done.stderr.strip()[-300:]
            continue
        adapters = json.loads(done.stdout)["adapters"]
        tried[name] = [adapter["name"] for adapter in adapters]
        real = [adapter for adapter in adapters if rehearse or adapter["kind"] == "discrete_gpu"]
        if real:
            return made, {"adapter": real[0], "vulkan": name, "all_adapters": adapters}
    return {**base}, {"vulkan": "no GPU found", "tried": tried}
