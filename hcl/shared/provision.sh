#!/bin/sh
# Runs as root inside the container that becomes the template. lxcast removes what it leaves behind (caches, logs, host
# keys, machine-id). README.md lists what is hardened and why.
set -eu

### apt
export DEBIAN_FRONTEND=noninteractive

apt-get update
apt-get -y dist-upgrade
apt-get -y install --no-install-recommends \
  @PACKAGES@ \
  openssh-server ca-certificates
apt-get -y autoremove --purge

### apk
apk update
apk upgrade
apk add @PACKAGES@ \
  openssh-server openssh-keygen ca-certificates

### dnf
dnf -y upgrade --refresh
dnf -y install --setopt=install_weak_deps=False --nodocs \
  @PACKAGES@ openssh-server ca-certificates

### ubuntu-user
# The image has a user `ubuntu` with a home directory. A golden image has none.
if id ubuntu >/dev/null 2>&1; then
  userdel --remove ubuntu
fi

### openrc
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

### rocky-units
# The image masks these for Docker. A Proxmox container needs them for sessions and consoles.
systemctl unmask systemd-logind.service getty.target console-getty.service
systemctl set-default multi-user.target
# Proxmox writes ifcfg files, which NetworkManager reads.
systemctl enable NetworkManager.service

### sshd-include
# Let sshd read the directory.
grep -q '^Include /etc/ssh/sshd_config.d/' /etc/ssh/sshd_config ||
  sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config

### sshd
# SSH: root logs in by key, nobody by password. sshd uses the first value that it reads.
install -d -m @SSHD_MODE@ /etc/ssh/sshd_config.d
cat >/etc/ssh/sshd_config.d/@SSHD_FILE@ <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
LoginGraceTime 30
CONF

### ssh-service
systemctl enable ssh.service

### ubuntu-units
# Ubuntu starts sshd through a socket. As a service it is the same on every distribution, and reports errors at boot.
systemctl disable ssh.socket
systemctl enable ssh.service

# Proxmox writes the network configuration for systemd-networkd.
systemctl enable systemd-networkd.service

### sshd-service
chmod 0600 /etc/ssh/sshd_config.d/@SSHD_FILE@
systemctl enable sshd.service

### sshd-openrc
rc-update add sshd default

### lock-root
passwd -l root

### lock-root-rocky
usermod --lock root

### lock-root-alpine
# No password matches. Not `passwd -l`: Alpine's sshd is built without PAM, and then refuses keys for an account whose
# password begins with an exclamation mark.
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow

### umask
# New files of a user are for the user and the group.
sed -i '/^UMASK\b/d' /etc/login.defs
echo 'UMASK 027' >>/etc/login.defs

### umask-pam
grep -q pam_umask /etc/pam.d/common-session || echo 'session optional pam_umask.so' >>/etc/pam.d/common-session

### umask-alpine
# New files of a user are for the user and the group.
sed -i 's/^umask .*/umask 027/' /etc/profile

### no-core
# A core dump can contain keys. The asterisk means everybody but root.
install -d -m 0755 /etc/security/limits.d
printf '%s hard core 0\n' '*' root >/etc/security/limits.d/10-no-core.conf

### no-core-alpine
# A core dump can contain keys.
echo 'rc_ulimit="-c 0"' >>/etc/rc.conf
echo 'ulimit -c 0' >/etc/profile.d/no-core.sh

### apt-timers
# A container has no disk of its own to trim, and is replaced by a newer template instead of upgraded by a timer.
systemctl disable fstrim.timer apt-daily.timer apt-daily-upgrade.timer

### dnf-timer
# A container is replaced by a newer template instead of upgraded by a timer.
systemctl disable dnf-makecache.timer
