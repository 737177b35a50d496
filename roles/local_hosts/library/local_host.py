#!/usr/bin/python
"""Ansible module: one local host, a User-Mode Linux process with a disk and a network card of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: local_host
short_description: One local host
description:
  - Boots a User-Mode Linux host in the cluster's network namespace, from a copy-on-write disk over a shared image.
  - What is the host's own (address, names, keys) reaches it as a second disk, which it unpacks at its first boot.
  - A host that is running is left alone, whatever the other options say.
options:
  cluster: {description: Name of the cluster., type: str, required: true}
  name: {description: The host's name., type: str, required: true}
  directory: {description: Where the host's disk and console log are kept., type: path, required: true}
  image: {description: The image's folder (C(base.img) and C(runtime/))., type: path}
  memory: {description: "Memory, as the kernel takes it: C(2G)., used only where touched.", type: str, default: 2G}
  seed:
    description: Files for the first boot; path to C({content, mode, uid}).
    type: dict
  host_key:
    description: The host's private SSH key, OpenSSH's format; never logged.
    type: str
  state:
    description: C(running) boots it, C(absent) cuts its power and removes its disk.
    type: str
    choices: [running, absent]
    default: running
"""
EXAMPLES = r"""
- name: A host
  local_host:
    cluster: local
    name: execute1
    directory: /var/lib/yolo-local-hosts/local/execute1
    image: /var/cache/yolo-local-hosts/image-0123
    seed:
      etc/resolv.conf: {content: "nameserver 192.0.2.53\n"}
    host_key: "{{ lookup('ansible.builtin.file', 'execute1-key') }}"
"""
RETURN = r"""
pid: {description: Process of the host., type: int, returned: when running}
"""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.local_hosts import (
    ClusterNames,
    CommandError,
    Runner,
    existing_namespaces,
    machine_runner,
    run_checked,
    write_whole,
)

# A host is a process of this user and group, which no account has: ids that systemd's list of them leaves free.
# https://systemd.io/UIDS-GIDS/
USER_ID = 2_000_000_093

# Runs inside a mount namespace of its own: the mounts go when the host goes. The binary needs a glibc that the
# machine may not have, hence the chroot into the image's runtime. Of the machine's devices the host sees what it needs:
# whoever breaks out of it is nobody, in an almost empty folder.
# A restart is a new process: the kernel's own way, executing itself again, keeps the tap open and then finds it busy.
# So it is told to leave instead, and its last words say whether it was to come back.
START = """
set -e
runtime=$1/runtime user=$3 console=$2/console.log
mount -t tmpfs -o mode=0755 none "$runtime/dev"
mkdir "$runtime/dev/net" "$runtime/dev/shm" "$runtime/dev/pts"
device() { mknod -m 0666 "$runtime/dev/$1" c "$2" "$3"; }
device null 1 3
device zero 1 5
device random 1 8
device urandom 1 9
device ptmx 5 2
device net/tun 10 200
mount --bind /dev/shm "$runtime/dev/shm"
mount --bind /dev/pts "$runtime/dev/pts"
mount --rbind /proc "$runtime/proc"
mount --bind "$1" "$runtime/image"
mount --bind "$2" "$runtime/host"
shift 3
set +e
while true; do
    env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ \\
        chroot --userspec="$user:$user" --groups= "$runtime" /linux.uml "$@"
    code=$?
    tail -n 3 "$console" | grep -q "reboot: Restarting system" || exit "$code"
done
"""


def seed_archive(files: dict[str, dict]) -> bytes:
    """Tar archive of the files a host unpacks at its first boot.

    Args:
        files: path without leading slash -> {"content": str, "mode": "0644", "uid": 0}.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, file in sorted(files.items()):
            content = file["content"].encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = int(file.get("mode", "0644"), 8)
            entry.uid = entry.gid = int(file.get("uid", 0))
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def kernel_arguments(umid: str, name: str, tap: str, memory: str) -> list[str]:
    """The host's kernel command line; paths are those inside the runtime's chroot."""
    return [
        f"mem={memory}",
        "ubd0=/host/disk.cow,/image/base.img",
        "ubd1r=/host/seed.tar",
        "root=/dev/ubda",
        "rw",
        # Where machine and kernel can, processes stop themselves instead of being stopped by ptrace: faster. A hostile
        # one could take over its host's kernel that way, and would then be USER_ID on the machine.
        "seccomp=auto",
        f"vec0:transport=tap,ifname={tap},depth=128,gro=1",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        # Else udev and systemd keep 512 terminals of the old kind, at each boot and each reload.
        "pty.legacy_count=0",
        f"umid={umid}",
        "uml_dir=/host/uml",
        "noreboot",
        # The kernel's own hostname= does not reach systemd.
        f"systemd.hostname={name}",
    ]


class Host:
    """One local host on this machine."""

    def __init__(self, cluster: str, name: str, directory: Path, run: Runner) -> None:
        self.namespace = ClusterNames(cluster).namespace
        self.name = name
        self.directory = directory
        self.umid = f"{cluster}-{name}"
        self.tap = f"tap-{name}"[:15]
        self.run = run

    def processes(self) -> list[int]:
        """Process ids of the host: its kernel, and the kernel's helpers, which carry the same command line."""
        if self.namespace not in existing_namespaces(self.run):
            return []
        mark = f"umid={self.umid}".encode()
        found = []
        for pid in run_checked(self.run, "ip", "netns", "pids", self.namespace).split():
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(pid))
        return sorted(found)

    def boot(self, image: Path, memory: str, seed: dict[str, dict]) -> int:
        """Start the host and return its process id.

        Raises:
            CommandError: when its disk was made over another image, or when the process ends within its first second;
                the text has the end of its console log.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A copy-on-write disk means nothing over another image; the kernel would refuse it with a long panic.
        mark = self.directory / "image"
        if (self.directory / "disk.cow").exists() and mark.exists() and mark.read_text() != str(image):
            raise CommandError(
                f"its disk was made over {mark.read_text()}, and the base image is now {image}: "
                "take the hosts down (`make down`; what is on their disks goes), then boot them anew"
            )
        write_whole(mark, str(image).encode(), mode=0o600)
        # A seed may hold keys' public parts and the machine's settings: for nobody's eyes but the host's.
        write_whole(self.directory / "seed.tar", seed_archive(seed), mode=0o600)
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, USER_ID, USER_ID, follow_symlinks=False)
        in_namespace = ("ip", "-n", self.namespace)
        if self.run([*in_namespace, "link", "show", self.tap])[0] != 0:
            run_checked(self.run, *in_namespace, "tuntap", "add", self.tap, "mode", "tap", "user", str(USER_ID))
        run_checked(self.run, *in_namespace, "link", "set", self.tap, "master", "bridge", "up")
        console = self.directory / "console.log"
        with console.open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "--propagation", "private",
                 "sh", "-c", START, "start", str(image), str(self.directory), str(USER_ID),
                 *kernel_arguments(self.umid, self.name, self.tap, memory)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, cwd="/",
            )  # fmt: skip
        time.sleep(1)
        if process.poll() is not None:
            tail = console.read_text(errors="replace")[-600:].strip()
            raise CommandError(f"it stopped at once (exit {process.returncode}); its console says: {tail}")
        return process.pid

    def remove(self, patience_seconds: float = 20.0) -> None:
        """Cut the host's power and remove its tap and its files."""
        deadline = time.monotonic() + patience_seconds
        while pids := self.processes():
            if time.monotonic() > deadline:
                raise CommandError(f"processes {pids} did not end on SIGKILL")
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        if self.namespace in existing_namespaces(self.run):
            self.run(["ip", "-n", self.namespace, "link", "delete", self.tap])
        if self.directory.exists():
            shutil.rmtree(self.directory)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "image": {"type": "path"},
            "memory": {"type": "str", "default": "2G"},
            "seed": {"type": "dict"},
            "host_key": {"type": "str", "no_log": True},
            "state": {"type": "str", "choices": ["running", "absent"], "default": "running"},
        },
        required_if=[("state", "running", ["image", "seed", "host_key"])],
        supports_check_mode=True,
    )
    wanted = module.params
    host = Host(wanted["cluster"], wanted["name"], Path(wanted["directory"]), machine_runner(module))
    try:
        pids = host.processes()
        if wanted["state"] == "running":
            if pids:
                module.exit_json(changed=False, pid=pids[0])
            key = {"etc/ssh/ssh_host_ed25519_key": {"content": f"{wanted['host_key']}\n", "mode": "0600"}}
            pid = -1 if module.check_mode else host.boot(Path(wanted["image"]), wanted["memory"], wanted["seed"] | key)
            module.exit_json(changed=True, pid=pid)
        changed = bool(pids) or host.directory.exists()
        if changed and not module.check_mode:
            host.remove()
        module.exit_json(changed=changed)
    except (CommandError, OSError, ValueError) as error:
        verb = "boot" if wanted["state"] == "running" else "remove"
        module.fail_json(msg=f"Failed to {verb} local host {wanted['name']!r}: {error}")


if __name__ == "__main__":
    main()
