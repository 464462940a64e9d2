#!/bin/sh
# Runs as root inside the container that becomes the template. lxcast removes what it leaves behind (caches, logs, host
# keys, machine-id). README.md lists what is hardened and why.
set -eu

export DEBIAN_FRONTEND=noninteractive

apt-get update
apt-get -y dist-upgrade
apt-get -y install --no-install-recommends \
  systemd systemd-sysv dbus ifupdown isc-dhcp-client iproute2 iputils-ping netbase \
  openssh-server ca-certificates
apt-get -y autoremove --purge

# SSH: root logs in by key, nobody by password. sshd uses the first value that it reads.
install -d -m 0755 /etc/ssh/sshd_config.d
cat >/etc/ssh/sshd_config.d/10-keys-only.conf <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
LoginGraceTime 30
CONF

systemctl enable ssh.service

passwd -l root

# New files of a user are for the user and the group.
sed -i '/^UMASK\b/d' /etc/login.defs
echo 'UMASK 027' >>/etc/login.defs

grep -q pam_umask /etc/pam.d/common-session || echo 'session optional pam_umask.so' >>/etc/pam.d/common-session

# A core dump can contain keys. The asterisk means everybody but root.
install -d -m 0755 /etc/security/limits.d
printf '%s hard core 0\n' '*' root >/etc/security/limits.d/10-no-core.conf

# A container has no disk of its own to trim, and is replaced by a newer template instead of upgraded by a timer.
systemctl disable fstrim.timer apt-daily.timer apt-daily-upgrade.timer
