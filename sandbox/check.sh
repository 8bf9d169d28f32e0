#!/bin/bash
# Run every suite, whatever the others say, and end with one line that counts them: `make check`.
#
# Only missing packages end it early: without them nothing can run.
set -uo pipefail
cd "$(dirname "$0")/.."

# A suite is a target of the Makefile. `build` is one: it is the check that gcc compiles without a warning.
suites=(build build-clang lint unit fuzz installcheck isolation versions system)

if ! make --no-print-directory deps; then
	echo "suites: 0 passed, ${#suites[@]} failed (could not install what they need)"
	exit 1
fi

failed=()
for suite in "${suites[@]}"; do
	echo "== $suite"
	begin=$SECONDS
	if make --no-print-directory "$suite"; then
		verdict=passed
	else
		verdict=FAILED
		failed+=("$suite")
	fi
	echo "== $suite: $verdict in $((SECONDS - begin)) s"
done

[ ${#failed[@]} -eq 0 ] || echo "failed suites: ${failed[*]}"
echo "suites: $((${#suites[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
