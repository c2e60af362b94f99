# shellcheck shell=bash
# Debian packages, for the scripts that can fall back on them; sourced.
# Refuses to remove anything (--no-remove): a test run must not change what else is on the machine.

apt_install() {
    if ! command -v apt-get >/dev/null; then
        echo "cannot install $*: this machine has no apt-get; install the equivalent by hand" >&2
        return 1
    fi
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo -n)
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-remove \
            --no-install-recommends "$@" >/dev/null
}
