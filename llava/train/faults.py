"""What goes wrong in the libraries that a run stands on, said with its mend: their own words seldom name one."""

import re

_START = "start it with torchrun --nproc-per-node 1 -m llava.train SETTINGS"

FAULTS: tuple[tuple[str, str], ...] = (
    (
        r"mpi4py",
        f"DeepSpeed looks for other processes through MPI, because nothing else started this one; {_START}",
    ),
    (
        r"(environment variable|env://).*(RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT)",
        f"this process was not told which of several it is; {_START}",
    ),
    (
        r"(EADDRINUSE|address already in use)",
        "the port is taken, mostly by another run on this machine; give torchrun --standalone, or another "
        "--rdzv-endpoint",
    ),
    (
        r"(DistBackendError|NCCL|ncclUnhandled|ncclSystem|ProcessGroupNCCL)",
        "the GPUs of this run lost each other, mostly because another process ended first; mend the first error in "
        "the log; if there is none, NCCL_DEBUG=INFO shows which connection fails",
    ),
    (
        r"(Connection (reset|closed|refused) by peer|gloo.*(timed out|timeout|Connection))",
        "another process of this run has ended or cannot be reached; mend the first error in the log",
    ),
    (
        r"(Ninja is required|ninja -v|CUDA_HOME|MissingCUDA|CUDAMismatch|Error building extension|"
        r"No such file or directory: '(g\+\+|c\+\+|gcc|nvcc|ninja|which))",
        "DeepSpeed compiles an operator when it first starts on a machine; install a C++ compiler, ninja and, for "
        "GPUs, the CUDA toolkit of torch's version",
    ),
    (
        r"DataLoader worker.*(killed|exited unexpectedly)",
        "a process that reads data was killed, mostly for want of memory; lower trainer: dataloader_num_workers, or "
        "give the machine more",
    ),
    (
        r"(unable to (open|write to|mmap).*shared memory|/torch_\d+.*(No space|shm)|bus error)",
        "shared memory is full; give the container more (docker --shm-size), or lower trainer: dataloader_num_workers",
    ),
    (r"Too many open files", "too many files are open; raise the limit (ulimit -n 65536) before the start"),
    (
        r"(OutOfMemoryError|out of memory|can't allocate memory)",
        "out of memory; lower trainer: per_device_train_batch_size and raise gradient_accumulation_steps as much, set "
        "gradient_checkpointing: true, or split more over GPUs with configs/deepspeed/zero3.json",
    ),
    (
        r"(tensorboard|wandb|mlflow|comet|clearml|trackio|swanlab).*(install|No module)|"
        r"No module.*(tensorboard|wandb|mlflow|comet|clearml|trackio|swanlab)",
        "what trainer: report_to names is not installed; install it, or set report_to: none (OUT/log.jsonl is always "
        "written)",
    ),
    (r"No module named '?deepspeed", "trainer: deepspeed needs the package; pip install deepspeed"),
    (r"\bpeft\b.*(No module|not installed|install)|No module.*\bpeft\b", "LoRA needs the package; pip install peft"),
)
"""Patterns over an error's type and message, and the sentence for whoever reads it; the first that fits is said."""


def explain(error: BaseException) -> str | None:
    """The fault and its mend, with the library's own words behind it; None for an error that nobody foresaw."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    for pattern, sentence in FAULTS:
        if re.search(pattern, words, re.IGNORECASE):
            return f"{sentence} ({words[:240]})"
    return None
