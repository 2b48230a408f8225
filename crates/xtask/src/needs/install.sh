# Installs the packages given, as root, and leaves nothing behind that runs: no service is started, nginx is not enabled
# for the next boot, and Debian's PostgreSQL makes no cluster of its own. Two files say so while apt-get works; they go
# when this ends, however it ends.
set -eu

policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
made_policy=
made_cluster=

undo() {
    [ -z "$made_policy" ] || rm -f "$policy"
    [ -z "$made_cluster" ] || rm -f "$cluster"
}
trap undo EXIT
trap 'exit 130' HUP INT TERM

# One that is there has its reasons; containers have one that forbids starting anything.
if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
if [ ! -e "$cluster" ]; then
    made_cluster=yes
    mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' > "$cluster"
fi
had_nginx=
[ ! -x /usr/sbin/nginx ] || had_nginx=yes

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@"

if [ -z "$had_nginx" ] && [ -x /usr/sbin/nginx ] && command -v systemctl > /dev/null; then
    systemctl --quiet disable nginx.service || true
fi
