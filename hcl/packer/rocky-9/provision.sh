#!/bin/sh
# Runs as root inside the container that becomes the template. lxcast removes what it leaves behind (caches, logs, host
# keys, machine-id). README.md lists what is hardened and why.
set -eu

dnf -y upgrade --refresh
dnf -y install --setopt=install_weak_deps=False --nodocs \
  systemd dbus NetworkManager iproute iputils hostname passwd procps-ng openssh-server ca-certificates

# The image masks these for Docker. A Proxmox container needs them for sessions and consoles.
systemctl unmask systemd-logind.service getty.target console-getty.service
systemctl set-default multi-user.target
# Proxmox writes ifcfg files, which NetworkManager reads.
systemctl enable NetworkManager.service

# SSH: root logs in by key, nobody by password. sshd uses the first value that it reads.
install -d -m 0700 /etc/ssh/sshd_config.d
cat >/etc/ssh/sshd_config.d/00-keys-only.conf <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
LoginGraceTime 30
CONF

chmod 0600 /etc/ssh/sshd_config.d/00-keys-only.conf
systemctl enable sshd.service

usermod --lock root

# New files of a user are for the user and the group.
sed -i '/^UMASK\b/d' /etc/login.defs
echo 'UMASK 027' >>/etc/login.defs

# A core dump can contain keys. The asterisk means everybody but root.
install -d -m 0755 /etc/security/limits.d
printf '%s hard core 0\n' '*' root >/etc/security/limits.d/10-no-core.conf

# A container is replaced by a newer template instead of upgraded by a timer.
systemctl disable dnf-makecache.timer
