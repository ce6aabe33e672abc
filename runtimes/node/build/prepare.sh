# Sourced in the work directory before the user's build command: this version's tools first, caches that survive builds.
PATH="$(dirname "$FLINT_EXECUTABLE"):$PATH"
export PATH

export npm_config_cache="$FLINT_CACHE/npm"
export YARN_CACHE_FOLDER="$FLINT_CACHE/yarn"
export XDG_CACHE_HOME="$FLINT_CACHE/cache"
export XDG_STATE_HOME="$FLINT_CACHE/state"
export BUN_INSTALL_CACHE_DIR="$FLINT_CACHE/bun"
# npm complains about settings that are not its own, so pnpm's is set for pnpm's projects only.
if [ -f pnpm-lock.yaml ]; then
  export npm_config_store_dir="$FLINT_CACHE/pnpm"
fi

# A build log is no place for advertisements, and nobody watches the progress bar.
export npm_config_update_notifier=false
export npm_config_fund=false
export npm_config_audit=false
export npm_config_progress=false
