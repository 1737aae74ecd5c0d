"""What the programs in the directory above are made of, apart from what is peculiar to each.

command          running a command to trace it and its descendants, reading until they have ended
terminal         text that is safe to print, and fits
counting         what programs that count and then print have in common
clang            compiling a BPF program in C
execsnoop_bpf    the BPF programs of execsnoop
execsnoop_events its records, and how they are shown
"""
