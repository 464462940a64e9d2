#!/bin/sh
# Runs as root inside the container that becomes the template. lxcast removes what it leaves behind (caches, logs, host
# keys, machine-id). README.md lists what is hardened and why.
set -eu

apk update
apk upgrade
apk add alpine-base openrc busybox-openrc ifupdown-ng iproute2-minimal iputils-ping \
  openssh-server openssh-keygen ca-certificates

# Tell OpenRC that it runs in a container, which shares the clock, the modules and the devices of the host.
sed -i 's/^#*rc_sys=.*/rc_sys="lxc"/' /etc/rc.conf
for service in bootmisc hostname networking syslog; do
  rc-update add "$service" boot
done
rc-update add crond default
rc-update add killprocs shutdown
rc-update add savecache shutdown

# busybox's init would restart its gettys again and again on consoles that a container may not have. Proxmox adds its
# own.
sed -i '/^tty[0-9]/d' /etc/inittab

# Let sshd read the directory.
grep -q '^Include /etc/ssh/sshd_config.d/' /etc/ssh/sshd_config ||
  sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config

# SSH: root logs in by key, nobody by password. sshd uses the first value that it reads.
install -d -m 0755 /etc/ssh/sshd_config.d
cat >/etc/ssh/sshd_config.d/10-keys-only.conf <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
LoginGraceTime 30
CONF

rc-update add sshd default

# No password matches. Not `passwd -l`: Alpine's sshd is built without PAM, and then refuses keys for an account whose
# password begins with an exclamation mark.
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow

# New files of a user are for the user and the group.
sed -i 's/^umask .*/umask 027/' /etc/profile

# A core dump can contain keys.
echo 'rc_ulimit="-c 0"' >>/etc/rc.conf
echo 'ulimit -c 0' >/etc/profile.d/no-core.sh
