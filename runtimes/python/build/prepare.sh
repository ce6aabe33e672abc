# Sourced in the work directory before the user's build command: makes and activates the virtual environment runtime-env,
# which becomes a part of the package. One that is ready to use is kept in the cache, because making it takes seconds.
export PIP_CACHE_DIR="$FLINT_CACHE/pip"
export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_NO_INPUT=1
export PIP_NO_COMPILE=1
export PIP_ROOT_USER_ACTION=ignore
export XDG_CACHE_HOME="$FLINT_CACHE/cache"
export PYTHONDONTWRITEBYTECODE=1

flint_environment() {
  # The path is a part of the environment's scripts, the version a part of its layout.
  flint_seed="$FLINT_CACHE/runtime-env-$("$FLINT_EXECUTABLE" -c 'import hashlib, os, sys; print(hashlib.sha256("\n".join((sys.version, os.path.realpath(sys.executable), os.getcwd())).encode()).hexdigest()[:16])')" || return 1
  rm -rf runtime-env
  if [ ! -d "$flint_seed" ]; then
    "$FLINT_EXECUTABLE" -m venv --without-pip runtime-env || return 1
    if ! runtime-env/bin/python "$FLINT_ADAPTER/seed.py"; then
      env -u PIP_NO_COMPILE runtime-env/bin/python -m ensurepip --default-pip || return 1
    fi
    rm -rf "$flint_seed.new.$$" && cp -a runtime-env "$flint_seed.new.$$" && mv "$flint_seed.new.$$" "$flint_seed" || return 1
    return 0
  fi
  cp -a "$flint_seed" runtime-env
}

flint_environment || { echo "The virtual environment cannot be made: is the venv module of this Python installed?" >&2; return 1; }
. ./runtime-env/bin/activate
