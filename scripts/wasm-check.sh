#!/usr/bin/env bash
# Builds crates/core for wasm32-unknown-unknown: the Worker and the browser run the very same evaluation.
# Takes rustup's target where it can be had, else Debian's newer compiler with the standard library built from source.
# WASM_ROUTE=rustup or WASM_ROUTE=debian forces one of the two.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/apt.sh

# Nobody runs what is built here, so nothing is optimised and nothing carries debug information.
build=(build --locked --quiet --package edgeseal-core --target wasm32-unknown-unknown
    --config profile.dev.opt-level=0 --config profile.dev.debug=false
    --config 'profile.dev.package."*".opt-level=0')

main() {
    case "${WASM_ROUTE:-any}" in
    rustup) has_rustup_target && with_rustup ;;
    debian) with_debian ;;
    any) if has_rustup_target; then with_rustup; else with_debian; fi ;;
    *) echo "WASM_ROUTE is '$WASM_ROUTE'; it can be rustup or debian" >&2 && exit 2 ;;
    esac
}

# A download that hangs must not hang the tests, hence the time limit.
has_rustup_target() {
    command -v rustup >/dev/null && timeout 120 rustup target add wasm32-unknown-unknown
}

with_rustup() {
    cargo "${build[@]}"
}

# Its own target folder: artifacts of another compiler would make cargo rebuild the native ones.
with_debian() {
    if ! [ -x /usr/bin/wasm-ld-22 ] || ! [ -d /usr/lib/rustlib/src/rust/library ] || ! debian_is_new_enough; then
        apt_install rustc-web cargo-web rust-web-src lld-22
    fi
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-22 \
        /usr/bin/cargo "${build[@]}" -Zbuild-std=std,panic_abort --target-dir target/wasm-debian
}

# Debian's plain rustc is years older and sits at the same path.
debian_is_new_enough() {
    local minor
    minor=$(/usr/bin/rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    [ "${minor:-0}" -ge 95 ]
}

main
