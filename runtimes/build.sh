#!/bin/bash
# What every build runs, in its sandbox: the language's preparation, the user's commands, the language's compilation.
# The work directory is the current one; what is left in it becomes the package.
set -e -o pipefail

say() { printf '\033[90m[%s] \033[0m[\033[35mflint\033[0m] %s\n' "$(date +%H:%M:%S)" "$1"; }

if [ -z "$(ls -A .)" ]; then
	echo "Error: No source code found. Ensure your source isn't empty."
	exit 1
fi

say 'Environment preparation started.'
if [ -f "$FLINT_HOOKS/prepare.sh" ]; then
	# shellcheck source=/dev/null
	. "$FLINT_HOOKS/prepare.sh"
fi
say 'Environment preparation finished.'

if [ -n "$FLINT_COMMANDS" ]; then
	say 'Build command execution started.'
	commands=$FLINT_COMMANDS
	(unset FLINT_COMMANDS FLINT_HOOKS FLINT_SEED; exec bash -c "$commands")
	say 'Build command execution finished.'
fi

for hook in compile pack; do
	if [ -f "$FLINT_HOOKS/$hook.sh" ]; then
		bash -e "$FLINT_HOOKS/$hook.sh"
	fi
done

if [ -n "$OPEN_RUNTIMES_OUTPUT_DIRECTORY" ] && [ -z "$(ls -A "$OPEN_RUNTIMES_OUTPUT_DIRECTORY" 2>/dev/null)" ]; then
	echo "Error: No build output found. Ensure your output directory isn't empty."
	exit 1
fi
say 'Build finished.'
