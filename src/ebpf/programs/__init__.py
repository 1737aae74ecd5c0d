"""Programs: loading, describing, test runs, and the attachments they own.

program    Program
load       BPF_PROG_LOAD: checking what is asked for, and the log that explains a refusal
target     what a program attaches to, where the kernel wants to know it when the program is loaded
kernel_types  the types of the kernel and its modules
symbols    functions and variables of the kernel that instructions name
run        test runs
attaching  the attach_ methods, and the links that a program owns
watching   those of them that watch functions, tracepoints and counters
stats      RunTimeStats
"""

from ebpf.programs.load import LOG_SIZE
from ebpf.programs.program import Program
from ebpf.programs.run import TestRun
from ebpf.programs.stats import RunTimeStats

__all__ = ["LOG_SIZE", "Program", "RunTimeStats", "TestRun"]
