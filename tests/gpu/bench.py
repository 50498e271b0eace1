"""What the sections share: their arguments, their rows, and runs of the program."""
import argparse
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys


def arguments(text):
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--rehearse", action="store_true")
    return parser.parse_args()


def row(**values):
    """Prints a row: `what`, and either what it `says`, or `ours` in `unit` beside `peers`, with a `target`."""
    print(json.dumps(values), flush=True)


def program(bundle, *words):
    """The JSON that a command of fusemix prints."""
    command = [str(bundle / "program" / "fusemix"), *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=end_with_parent)
    if done.returncode:
        raise RuntimeError(f"`fusemix {' '.join(map(str, words))}` ended with {done.returncode}: {done.stderr[-1500:]}")
    return json.loads(done.stdout)


def end_with_parent():
    """Ends this process when its parent ends, however that ends: what runs on would keep the GPU busy."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def attempt(what, work):
    """What `work` returns; a row that says why, and None, if it fails."""
    try:
        return work()
    except Exception as error:  # whatever it is, the rest of the section goes on
        print(f"{what}: {error}", file=sys.stderr)
        row(what=what, says=f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[-600:]}")
        return None


def torch_device(rehearse):
    """Where PyTorch computes: the GPU, or, in a rehearsal, the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if rehearse:
        torch.set_num_threads(os.cpu_count() or 1)
        return "cpu"
    raise RuntimeError("PyTorch finds no CUDA here")


# PyTorch's precisions: their names, whether TF32 is allowed, and whether bf16 is used.
PEERS = {"torch f32": (False, False), "torch TF32": (True, False), "torch bf16": (False, True)}


def allow_tf32(allowed):
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
