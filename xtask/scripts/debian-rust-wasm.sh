#!/usr/bin/env bash
# A Rust toolchain for wasm32-wasip1 and wasm32-wasip2, made from Debian's packages.
#
#   debian-rust-wasm.sh PREFIX
#
# For machines where `rustup target add` has no server to ask, and apt has one. Called by
# `cargo xtask setup rust`; writes PREFIX and nothing else: no package is installed, no rustup
# toolchain is linked, and root is not needed.
#
# 1. Debian's rustc-web, its clippy and rust-web-src, of one version, are unpacked.
# 2. std is built for both targets with that compiler (-Zbuild-std): std's source must be the
#    compiler's own version.
# 3. wasi-libc comes from trixie: bookworm's, of 2022, has no wasm32-wasip2.
# 4. cargo, rust-lld and wasm-component-ld are symbolic links into the active Rust toolchain.
set -euo pipefail
prefix=$1
targets="wasm32-wasip1 wasm32-wasip2"
oldest=1.91 # the SDK's `rust-version`

step() { printf '    %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

for tool in apt-get apt-cache dpkg rustc cc; do
  command -v $tool >/dev/null || die "\`$tool\` is not on PATH, and this recipe needs it"
done
host=$(rustc -vV | awk '/^host/{print $2}')
base=$(rustc --print sysroot)
[ -x "$base/bin/cargo" ] || die "the Rust toolchain in $base has no bin/cargo: install Rust with rustup"
[ -x "$base/lib/rustlib/$host/bin/wasm-component-ld" ] ||
  die "the Rust toolchain in $base has no wasm-component-ld: install Rust with rustup"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt downloads as its own user
mkdir -p "$work"/{root,wasi,debs,apt/lists/partial,apt/cache/archives/partial}

# ---- apt, with its lists and caches in $work -----------------------------------------------------
# A private state needs no root, and leaves the machine's own lists alone.
private_apt() { # NAME SETTINGS: writes a configuration file and prints its path
  cat >"$work/apt/$1.conf" <<A
$2
Dir::State::lists "$work/apt/lists";
Dir::Cache "$work/apt/cache"; Dir::Cache::archives "$work/apt/cache/archives";
Acquire::Languages "none"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "$(id -un)";
A
  echo "$work/apt/$1.conf"
}
download() { # PACKAGE[=VERSION]… into $work/debs
  (cd "$work/debs" && apt-get download -qq "$@") || die "apt could not download: $*"
}
unpack() { # FOLDER: everything in $work/debs
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$1"; done
  rm -f "$work"/debs/*.deb
}

step "reading Debian's package lists"
APT_CONFIG=$(private_apt system '')
export APT_CONFIG
apt-get update -qq || die "\`apt-get update\` failed: check this machine's apt sources and network"
version=$(apt-cache policy rustc-web | awk '/Candidate:/{print $2}')
case ${version:-(none)} in
"(none)") die "this system's apt sources have no rustc-web (Debian 12 has it, in its security updates): use rustup" ;;
esac
dpkg --compare-versions "$version" ge $oldest ||
  die "apt offers rustc-web $version, and guests need $oldest or newer: add bookworm-security to the apt sources"
runtime=$(apt-cache show "libstd-rust-web-dev=$version" | grep -oE 'libstd-rust-web-[0-9]+\.[0-9]+' | head -1)
llvm=$(apt-cache show "$runtime=$version" | grep -oE 'libllvm[0-9]+' | head -1)
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | head -1)
[ -n "$mirror" ] || die "no Debian mirror in this machine's apt sources to take wasi-libc from"

step "downloading rustc-web and rust-web-src $version, $llvm"
download "rustc-web=$version" "rust-web-src=$version" "libstd-rust-web-dev=$version" "$runtime=$version" "$llvm" \
  "rust-web-clippy=$version"
unpack "$work/root"

# ---- the compiler --------------------------------------------------------------------------------
rm -rf "$prefix"
mkdir -p "$prefix/bin" "$prefix/libexec" "$prefix/lib/rustlib/src/rust"
for tool in rustc rustdoc clippy-driver cargo-clippy; do
  cp -a "$work/root/usr/bin/$tool" "$prefix/libexec/"
  # Debian's rustc looks for its libraries in /usr/lib only.
  cat >"$prefix/bin/$tool" <<W
#!/bin/sh
here=\${0%/*}/..
LD_LIBRARY_PATH=\$here/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec "\$here/libexec/$tool" "\$@"
W
  chmod +x "$prefix/bin/$tool"
done
ln -s "$base/bin/cargo" "$prefix/bin/cargo"
cp -a "$work"/root/usr/lib/*-linux-gnu/{librustc_driver-*.so,libLLVM*} "$prefix/lib/"
cp -a "$work/root/usr/lib/rustlib/$host" "$prefix/lib/rustlib/"
ln -s "$base/lib/rustlib/$host/bin" "$prefix/lib/rustlib/$host/bin"
source=$(echo "$work"/root/usr/src/rustc-*)
cp -a "$source/library" "$prefix/lib/rustlib/src/rust/"

# LLVM's own libraries: many systems have them; what is missing is unpacked beside it. More than one
# round, because a library that was missing may need another.
missing() { LD_LIBRARY_PATH=$prefix/lib ldd "$prefix/libexec/rustc" "$prefix"/lib/*.so* | awk '/not found/{print $1}' | sort -u; }
packages=$llvm
for _ in 1 2 3; do
  libraries=$(missing)
  [ -n "$libraries" ] || break
  packages=$(apt-cache depends --no-suggests --no-recommends $packages | awk '/ Depends: lib/{print $2}' | sort -u)
  step "adding LLVM's libraries: $(echo $libraries)"
  download $packages
  unpack "$work/root"
  for library in $libraries; do
    find "$work/root/usr/lib" "$work/root/lib" -name "$library" -exec cp -L {} "$prefix/lib/" \; 2>/dev/null || true
  done
done
[ -z "$(missing)" ] || die "libraries of the compiler are missing: $(echo $(missing)); install them: apt-get install $llvm"

# ---- wasi-libc -----------------------------------------------------------------------------------
step "downloading wasi-libc from trixie"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=$(dpkg --print-architecture) signed-by=$keyring] $mirror trixie main" >"$work/apt/trixie.list"
APT_CONFIG=$(private_apt trixie "Dir::Etc::sourcelist \"$work/apt/trixie.list\"; Dir::Etc::sourceparts \"-\";")
apt-get update -qq || die "could not read trixie's package list"
download wasi-libc
unpack "$work/wasi"

# ---- std for both targets ------------------------------------------------------------------------
export PATH=$prefix/bin:$PATH RUSTC=$prefix/bin/rustc
mkdir -p "$work/std/src"
: >"$work/std/src/lib.rs"
printf '[package]\nname="stdbuild"\nversion="0.0.0"\nedition="2021"\n[workspace]\n[profile.release]\ncodegen-units=1\n' \
  >"$work/std/Cargo.toml"
cd "$work/std"
for target in $targets; do
  step "building std for $target with $(rustc -V)"
  # Without embedded bitcode, a guest with `lto = true` fails: "Can't find section .llvmbc".
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR=$work/target \
    cargo build -q --release -Zbuild-std=std,panic_abort --target "$target"
  lib=$prefix/lib/rustlib/$target/lib
  mkdir -p "$lib/self-contained"
  cp "$work/target/$target/release/deps/"*.rlib "$lib/"
  rm -f "$lib"/libstdbuild-*
  cp "$work/wasi/usr/lib/$target/"{libc.a,crt1-command.o,crt1-reactor.o} "$lib/self-contained/"
done
rm -rf "$prefix/lib/rustlib/src" # half the size, and only -Zbuild-std reads it
