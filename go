#!/bin/sh
# ./go ARGS             is `trafficrl ARGS`
# ./go test             lints, checks types and runs the tests
# ./go test --all       the same with the slow tests
# ./go test PYTEST-ARGS runs only pytest, for example ./go test tests/cli -k help
#
# The first use makes .venv here and installs the versions in constraints.txt;
# later uses install again only when that, pyproject.toml or setup.py changes.
# PYTHON=/path/to/python chooses the interpreter of a new .venv.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd -P)
venv=$root/.venv
log=$venv/install.log
stamp=$venv/installed     # what is installed, or "incomplete"
checked=$venv/libsumo-ok  # exists once SUMO's system libraries are there

say() { printf 'trafficrl: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# Runs a command with its output in the log; shows the end of that if it fails.
logged() {
    "$@" >>"$log" 2>&1 </dev/null || {
        tail -n 15 "$log" >&2
        die "failed: $* (all of it: $log)"
    }
}

apt_install() {
    line="apt-get install -y --no-install-recommends $*"
    command -v apt-get >/dev/null || die "please install what Debian calls: $*"
    if [ "$(id -u)" = 0 ]; then
        as_root='env DEBIAN_FRONTEND=noninteractive'
    elif sudo -n true 2>/dev/null; then
        as_root='sudo -n env DEBIAN_FRONTEND=noninteractive'
    else
        die "system packages are missing; run: sudo $line"
    fi
    say "installing system packages: $*"
    # A machine that never ran `apt-get update` knows no packages, or old ones.
    # shellcheck disable=SC2086  # both are lists of words
    output=$({ $as_root $line || { $as_root apt-get update && $as_root $line; }; } 2>&1 </dev/null) || {
        printf '%s\n' "$output" | tail -n 15 >&2
        die "failed: $line"
    }
}

# Sets $python to an interpreter that can make a virtual environment.
find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        recent && "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    done
    # Debian's python3 can make none until python3.X-venv is installed.
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        recent && apt_install "python3.$("$python" -c 'import sys; print(sys.version_info[1])')-venv" &&
            return
    done
    return 1
}

recent() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

make_venv() {
    if ! find_python; then
        [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not Python 3.11 or newer"
        # python3 itself is too old on Ubuntu 22.04, which has 3.11 beside it.
        if command -v python3 >/dev/null; then
            apt_install python3.11-venv
        else
            apt_install python3-venv
        fi
        find_python || die "Python 3.11 or newer is needed and was not found"
    fi
    output=$("$python" -m venv --clear "$venv" 2>&1) ||
        die "failed: $python -m venv $venv: $output"
}

# A .venv that was moved or copied, or whose Python is gone, cannot be used.
usable() {
    case $("$venv/bin/pip" --version 2>/dev/null) in
        *" from $venv/"*) [ "$(cat "$stamp" 2>/dev/null)" != incomplete ] ;;
        *) false ;;
    esac
}

fingerprint() {
    "$venv/bin/python" -V
    (cd "$root" && pwd -P && cksum constraints.txt pyproject.toml setup.py)
}

installed() {
    [ -e "$checked" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint 2>/dev/null)" ]
}

# Waits for another ./go that is installing; the lock ends with its process.
lock() {
    command -v flock >/dev/null || return 0
    exec 9<"$root/go"
    flock -n 9 || {
        say 'waiting for another ./go that is installing'
        flock 9
    }
}

install() {
    start=$(date +%s)
    if usable; then
        say 'bringing .venv up to date'
    else
        say 'making .venv and installing into it; this takes a minute or two, once'
        make_venv
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" != "$(fingerprint)" ]; then
        rm -f "$checked"
        echo incomplete >"$stamp"
        : >"$log"
        logged "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
            --progress-bar off -c "$root/constraints.txt" -e "$root[dev,plot,tb,video]"
        fingerprint >"$stamp"
    fi
    packages=$("$venv/bin/trafficrl" doctor --missing-packages)
    # shellcheck disable=SC2086  # a list of words
    [ -z "$packages" ] || apt_install $packages
    logged "$venv/bin/python" -c 'import libsumo'
    : >"$checked"
    say "ready after $(($(date +%s) - start)) s"
}

run_tests() {
    cd "$root"
    status=0
    for argument; do
        shift
        case $argument in
            --all) all=yes ;;
            *) set -- "$@" "$argument" ;;
        esac
    done
    if [ $# = 0 ]; then
        "$venv/bin/python" -m ruff check . || status=1
        "$venv/bin/python" -m ruff format --check . || status=1
        "$venv/bin/python" -m mypy || status=1
    fi
    # The slow tests are left out by pyproject.toml; an empty -m takes that back.
    [ -z "${all:-}" ] || set -- -m '' "$@"
    # By files as far as that goes: what the tests of a file share is made once.
    "$venv/bin/python" -m pytest -n 2 --dist worksteal "$@" || status=$?
    return $status
}

installed || {
    lock
    installed || install
    exec 9<&-
}

if [ "${1:-}" = test ]; then
    shift
    run_tests "$@"
else
    TRAFFICRL_PROGRAM=$0 exec "$venv/bin/trafficrl" "$@"
fi
