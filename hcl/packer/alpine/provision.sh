#!/bin/sh
# Runs as root inside the container that becomes the template. What it leaves behind (caches, logs, host keys) lxcast
# takes out; README.md lists what is hardened and why.
set -eu

apk update
apk upgrade
apk add alpine-base openrc busybox-openrc ifupdown-ng iproute2-minimal iputils-ping \
  openssh-server openssh-keygen ca-certificates

# OpenRC is told that it runs in a container, where the clock, the modules and the devices are the host's.
sed -i 's/^#*rc_sys=.*/rc_sys="lxc"/' /etc/rc.conf
for service in bootmisc hostname networking syslog; do
  rc-update add "$service" boot
done
rc-update add crond default
rc-update add killprocs shutdown
rc-update add savecache shutdown

# busybox's init would start its gettys again and again on consoles that a container may lack; Proxmox adds its own.
sed -i '/^tty[0-9]/d' /etc/inittab

# SSH: root by key, nobody by password.
install -d -m 0755 /etc/ssh/sshd_config.d
grep -q '^Include /etc/ssh/sshd_config.d/' /etc/ssh/sshd_config ||
  sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config
cat >/etc/ssh/sshd_config.d/10-keys-only.conf <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
LoginGraceTime 30
CONF
rc-update add sshd default

# No password fits. Not `passwd -l`: Alpine's sshd is built without PAM, and then refuses keys for an account whose
# password begins with an exclamation mark.
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow

# Files that a user makes are for the user and the group.
sed -i 's/^umask .*/umask 027/' /etc/profile

# A core dump may hold keys.
echo 'rc_ulimit="-c 0"' >>/etc/rc.conf
echo 'ulimit -c 0' >/etc/profile.d/no-core.sh
