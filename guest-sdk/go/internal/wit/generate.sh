#!/bin/sh
# Makes the bindings in imports/ and exports/ anew from wit/, with `wit-bindgen` 0.63 on the PATH
# (cargo install wit-bindgen-cli --version 0.63.0 --locked --no-default-features --features go).
# exports/export_tigerflow_task_task is ours: what the exported functions call.
set -eu
cd "$(dirname "$0")"
here=github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit
rm -rf imports exports/wit_exports
wit-bindgen go --quiet --world task --pkg-name "$here" --out-dir . ../../wit
# The support code lies beside: types/ as it comes with the generator, runtime/ our own (see there).
sed -i "s|\"go.bytecodealliance.org/pkg/wit/|\"$here/|" $(grep -rl go.bytecodealliance.org imports exports/wit_exports)
# Only what the exported task needs of its own interface is in exports/.
rm -rf imports/tigerflow_task_task
gofmt -w imports exports
# Only the types mean something outside of a component: to tests.
for file in exports/wit_exports/wit_exports.go imports/wasi_*/wit_bindings.go imports/tigerflow_task_report/wit_bindings.go; do
    mv "$file" "${file%.go}_wasip1.go"
done
rm imports/*/empty.s
