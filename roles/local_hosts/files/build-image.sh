#!/bin/bash
# Builds the base image of the local hosts: Debian's user-mode kernel (the runtime) and one root
# filesystem that every host boots from through a copy-on-write disk. This file is the whole recipe:
# the role rebuilds the image when it, or an argument, changes.
#
# Usage: build-image.sh DEST SUITE KERNEL_SUITE DISK_SIZE PACKAGE,PACKAGE,... [BAKED-PACKAGE,... [COMMAND ARGUMENT...]]
# Baked packages are installed like the others, but none of their services starts by itself. A command is run after that,
# with the path of the root filesystem and a comma (an inventory of one host, to Ansible) as its last argument.
# DEST appears only when it is complete: everything is made beside it and renamed at the end.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

dest=$1 suite=$2 kernel_suite=$3 disk_size=$4 packages=$5 baked=${6:-} command=("${@:7}")
partial="$dest.partial"
root="$partial/root"

# One build at a time; a second one waits and then finds the work done.
mkdir -p "$(dirname "$dest")"
exec 9> "$(dirname "$dest")/build.lock"
flock 9
[ -e "$dest" ] && exit 0

# mmdebstrap mounts /proc and /dev in the new root. In a mount namespace of its own, these go when the
# build goes, even by SIGKILL, so the clean-up below can never reach the machine's /dev.
if [ -z "${IN_NAMESPACE:-}" ]; then
    IN_NAMESPACE=1 exec unshare --mount --propagation private -- "$BASH" "$0" "$@"
fi

rm -rf --one-file-system "$partial"
mkdir -p "$partial"

# Debian's default archive, verified with Debian's own keyring (present on Ubuntu too, from its package).
enabled='chroot "$1" systemctl list-unit-files --state=enabled --no-legend --plain | cut -d" " -f1 | sort'
bake=()
if [ -n "$baked" ]; then
    bake=(
        --customize-hook="$enabled > \"\$1/enabled-before\""
        --customize-hook="chroot \"\$1\" apt-get install --quiet=2 --yes --no-install-recommends ${baked//,/ } > /dev/null"
        --customize-hook="$enabled | comm -13 \"\$1/enabled-before\" - | xargs -r chroot \"\$1\" systemctl --quiet disable"
        --customize-hook='rm "$1/enabled-before"; rm -f "$1"/var/cache/apt/archives/*.deb'
    )
fi
if [ ${#command[@]} -gt 0 ]; then
    # Its standard output is for standard error: nobody reads it unless it fails.
    bake+=(--customize-hook="${command[*]@Q} \"\$1,\" >&2")
fi
mmdebstrap --quiet --variant=minbase --skip=cleanup/apt/lists \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='force-unsafe-io' \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --include="$packages" "${bake[@]}" "$suite" "$root"

# The kernel, of a release of its own, with the C library that it needs: unpacked, not installed. A release in the making
# is signed for a week at a time; mirrors that are brought up to date less often are good enough for this one package.
kernel="$partial/kernel"
mmdebstrap --quiet --variant=extract --aptopt='Acquire::Min-ValidTime "31536000"' \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --include=user-mode-linux "$kernel_suite" "$kernel"

# The runtime: the kernel and the two libraries it needs, so that it starts on any distribution whatever its glibc.
runtime="$partial/runtime"
mkdir -p "$runtime"/{dev,proc,image,host,lib64,lib/x86_64-linux-gnu}
mv "$kernel/usr/bin/linux.uml" "$runtime/"
cp -L "$kernel/usr/lib64/ld-linux-x86-64.so.2" "$runtime/lib64/"
cp -L "$kernel/usr/lib/x86_64-linux-gnu/libc.so.6" "$runtime/lib/x86_64-linux-gnu/"

# The kernel's modules come with their dependency index: where modprobe looks is all that is missing.
mkdir -p "$root/usr/lib/modules"
mv "$kernel"/usr/lib/uml/modules/* "$root/usr/lib/modules/"
rm -rf --one-file-system "$kernel"

# Like Debian's EC2 image: a user `admin` with sudo and no password; what is the host's own comes at its first boot.
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash admin
install -m 0440 /dev/stdin "$root/etc/sudoers.d/admin" <<< 'admin ALL=(ALL) NOPASSWD:ALL'
rm -f "$root/etc/hostname" "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
echo '/dev/ubda / ext4 defaults,noatime 0 1' > "$root/etc/fstab"

cat > "$root/etc/systemd/system/local-seed.service" <<'UNIT'
[Unit]
Description=Unpack what is this host's own (network, names, keys) on its first boot
DefaultDependencies=no
After=systemd-remount-fs.service local-fs.target
Before=sysinit.target systemd-networkd.service network-pre.target
ConditionPathExists=!/var/lib/local-seed.done

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/tar --extract --file=/dev/ubdb --directory=/ --no-overwrite-dir --numeric-owner
ExecStart=/usr/bin/touch /var/lib/local-seed.done

[Install]
WantedBy=sysinit.target
UNIT

mkdir -p "$root/etc/systemd/system/ssh.service.d"
cat > "$root/etc/systemd/system/ssh.service.d/host-keys.conf" <<'UNIT'
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
UNIT

# A page fault costs a User-Mode host ten times what it costs another, and glibc gives large blocks back to the kernel
# at once to fault them in again a moment later. Told to keep them, sshd takes 5 MB in 1.2 s instead of 15 s.
malloc="MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_TOP_PAD_=4194304"
mkdir -p "$root/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultEnvironment=%s\n' "$malloc" > "$root/etc/systemd/system.conf.d/malloc.conf"
printf '%s\n' $malloc >> "$root/etc/environment"

# The kernel has 64 serial lines and 64 virtual consoles, none of them connected: systemd need not know a unit of each.
cat > "$root/etc/udev/rules.d/99-without-terminals.rules" <<'RULES'
SUBSYSTEM=="tty", TAG-="systemd"
RULES

# Timers that would take apt's lock or the processor behind a play's back.
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer fstrim.timer getty@tty1.service
# Mounts from other hosts wait for the network, as on EC2.
chroot "$root" systemctl --quiet enable local-seed.service systemd-networkd.service systemd-networkd-wait-online.service ssh.service

# Reading the archive's lists takes a host twenty seconds; done here, it takes one.
chroot "$root" apt-cache gencaches

# What systemd brings up to date at the boot after an update of /usr (linker's cache, journal's catalogue) is up to date.
chroot "$root" /usr/lib/systemd/systemd-update-done

# A sparse file, filled without a mount.
mkfs.ext4 -q -d "$root" -L local-host "$partial/base.img" "$disk_size"
rm -rf --one-file-system "$root"
mv "$partial" "$dest"
