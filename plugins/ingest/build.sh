#!/bin/sh
# Builds the component `ingest`, and prints where it is.
#
# SQLite is C: this takes zig's C compiler, which brings a C library for
# WebAssembly along. ZIG says how to call it; without, a `zig` on the PATH or
# the Python package `ziglang` is taken (`pip install ziglang`).
# Other arguments go to cargo: `./build.sh --locked`.
set -eu

if [ -z "${ZIG:-}" ]; then
    if command -v zig >/dev/null; then
        ZIG=zig
    elif python3 -m ziglang version >/dev/null 2>&1; then
        ZIG="python3 -m ziglang"
    else
        echo "build.sh: no C compiler for WebAssembly." >&2
        echo "build.sh: set ZIG to call zig (ZIG=/opt/zig/zig), or get it from PyPI:" >&2
        echo "  python3 -m venv ~/.zig && ~/.zig/bin/pip install ziglang" >&2
        echo "  ZIG=\"\$HOME/.zig/bin/python -m ziglang\" $0" >&2
        exit 1
    fi
fi

cd "$(dirname "$0")"
target=wasm32-wasip2
target_dir=${CARGO_TARGET_DIR:-$PWD/target}

# cargo wants single programs, and hands over a target that zig calls otherwise.
tools=$target_dir/zig-tools
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
cat >"$tools/cc" <<END
#!/bin/sh
for argument; do
    shift
    case \$argument in
    --target=*) ;;
    *) set -- "\$@" "\$argument" ;;
    esac
done
exec $ZIG cc -target wasm32-wasi "\$@"
END
cat >"$tools/ar" <<END
#!/bin/sh
exec $ZIG ar "\$@"
END
chmod +x "$tools/cc" "$tools/ar"

export CC_wasm32_wasip2="$tools/cc"
export AR_wasm32_wasip2="$tools/ar"
# A component has one thread.
export CFLAGS_wasm32_wasip2="-DSQLITE_THREADSAFE=0"
cargo build --release --target "$target" "$@" >&2
echo "$target_dir/$target/release/ingest.wasm"
