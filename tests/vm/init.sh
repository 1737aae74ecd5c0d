#!/bin/sh
# Runs as root in the guest: mounts what BPF tests need, runs the command, and reports by files.
#
# The host reads these files in the job folder, which it shares with the guest:
#   started   the command is about to run
#   error     the harness failed in the guest (its text says how); no status is written then
#   status    the command's exit status, and the last thing that is written
#
# usage: init.sh JOB_FOLDER

job=$1
exec </dev/null 2>&1

fail() {
    echo "$1" >"$job/error"
    sync
    exit 1
}

# mount_at TYPE FOLDER: unless it is mounted there already
mount_at() {
    grep -q "^[^ ]* $2 $1 " /proc/mounts && return
    mount -t "$1" "$1" "$2" || fail "cannot mount $1 on $2 in the guest"
}

mount_at bpf /sys/fs/bpf
mount_at tracefs /sys/kernel/tracing
mount_at debugfs /sys/kernel/debug
mount_at cgroup2 /sys/fs/cgroup

# The host's root may be read by somebody who may not write to root's home folder.
if ! mkdir -p "$HOME/.ebpf-vm" 2>/dev/null; then
    HOME=/run/home
    export HOME
    mkdir -p "$HOME"
fi

# In memory: every small write to a folder of the host costs a round trip.
EBPF_VM_OUTPUT=/run/ebpf-vm-output
export EBPF_VM_OUTPUT
mkdir -p "$EBPF_VM_OUTPUT"

echo started >"$job/started"
sh "$job/command.sh"
status=$?

cp -R "$EBPF_VM_OUTPUT/." "$job/output/" || fail "cannot copy the output folder to the host"
echo "$status" >"$job/status.new"
mv "$job/status.new" "$job/status" || fail "cannot write the exit status"
sync
