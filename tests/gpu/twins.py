"""Section `twins`: each kernel on the GPU against its twin on the CPU, and the trainer against PyTorch and the CPU."""
import os
import re
import subprocess
import sys

import bench

FILTERS = ["kernels::", "device::", "fit::fusemix::train::"]


def main():
    args = bench.arguments(__doc__)
    environment = {name: value for name, value in os.environ.items() if name != "FUSEMIX_NO_WGPU"}
    # The shaders' own tests need their files, and no GPU.
    command = [args.bundle / "program" / "tests", *FILTERS, "--skip", "shaders::", "--test-threads", "4"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    results, output = {}, []
    for line in child.stdout:
        output.append(line)
        if found := re.match(r"test (\S+)(?: - should panic)? \.\.\. (\w+)", line):
            results[found[1]] = found[2]
            bench.row(what=found[1], says=found[2], quiet=found[2] == "ok")
    child.wait()
    bad = [name for name, result in results.items() if result not in ("ok", "ignored")]
    for name in bad:
        why = "".join(output).partition(f"---- {name} stdout ----")[2].partition("\n---- ")[0]
        bench.row(what=f"why {name}", says=why.strip()[:1200])
    bench.row(what="tests of kernels, devices and training", says=f"{len(results) - len(bad)} passed, {len(bad)} failed",
              passed=len(results) - len(bad), failed=bad)
    if child.returncode and not bad:
        sys.exit(f"the tests ended with {child.returncode}:\n{''.join(output[-12:])}")


if __name__ == "__main__":
    main()
